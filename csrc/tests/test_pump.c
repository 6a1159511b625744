/* The core's own pump: it starts by itself, delivers the events of a dropped sender, and ends. */
#define _GNU_SOURCE
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "scratch_inbox.h"
#include "send_joined.h"

#define LONG_NS 10000000000LL

static int threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int count = -2;
    CHECK(tasks);
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

/* The kernel lists a joined thread for a moment longer, so wait for the count to fall. */
static void wait_for_threads(int count)
{
    for (int i = 0; threads() != count; i++) {
        CHECK(i < 30000);
        check_sleep_ms(1);
    }
}

static void *own_id(void *id)
{
    *(pid_t *)id = gettid();
    return NULL;
}

/* The threads of this process while no ring is open. A sanitizer starts its own with the first thread of the program,
 * so count them after a first thread has ended. */
static int idle_threads(void)
{
    static pid_t process;
    static int idle;
    if (process != getpid()) { /* also after a fork, which copies no other thread */
        pthread_t thread;
        pid_t id;
        char path[64];
        process = getpid();
        CHECK(!pthread_create(&thread, NULL, own_id, &id) && !pthread_join(thread, NULL));
        snprintf(path, sizeof path, "/proc/self/task/%d", id);
        while (!access(path, F_OK))
            check_sleep_ms(1);
        idle = threads();
    }
    wait_for_threads(idle);
    return idle;
}

/* Sends frames of 128 bytes from `first` on until `waiting` are in the overflow of a ring of 4096. Returns the next one. */
static uint64_t overflow(struct scratch_ring *ring, uint64_t first, uint64_t waiting)
{
    while (scratch_overflow(ring).events < waiting)
        CHECK(scratch_send(ring, first++, 100) >= 0);
    return first;
}

static void take_all(struct scratch_ring *ring, uint64_t first, uint64_t behind)
{
    while (first < behind) {
        int64_t got = scratch_drain(ring, 1000, UINT64_MAX);
        CHECK(got >= 0);
        for (int64_t i = 0; i < got; i++)
            CHECK_EQ(scratch_offset(ring, (uint64_t)i), first++);
        if (got)
            CHECK_EQ(scratch_release_all(ring), 0);
        else
            CHECK_EQ(kr_consumer_wait(ring->consumer, LONG_NS, 0), KR_WAIT_READY);
    }
    CHECK_EQ(first, behind);
}

static void wait_for_the_end(struct scratch_ring *ring)
{
    int code;
    while ((code = kr_consumer_wait(ring->consumer, LONG_NS, 0)) != KR_WAIT_GONE)
        CHECK(code != KR_WAIT_TIMEOUT);
}

static void it_starts_with_the_first_overflow_and_ends_with_the_last(void)
{
    struct scratch_ring ring;
    int idle = idle_threads() + 2; /* the two roles */
    scratch_open_inbox(&ring, 4096);
    for (uint64_t round = 0, sent = 0; round < 20; round++) {
        uint64_t first = sent;
        sent = overflow(&ring, first, 500);
        CHECK_EQ(threads(), idle + 1);
        take_all(&ring, first, sent);
        CHECK_EQ(kr_flush(ring.sender, LONG_NS), KR_WAIT_READY);
        wait_for_threads(idle);
    }
    scratch_close(&ring);
    wait_for_threads(idle - 2);
}

static void what_was_dropped_with_its_handle_still_arrives(void)
{
    struct scratch_ring ring;
    int idle = idle_threads(), descriptors = check_open_descriptors();
    for (uint64_t round = 0; round < check_rounds(200); round++) {
        kr_failure why = {0};
        uint64_t taken = round % 40;
        scratch_create(&ring, 4096);
        char *area = kr_area_map(ring.map, &why);
        char *own = ring.area;
        ring.area = area;
        scratch_new_sender(&ring);
        ring.area = own;
        CHECK_EQ(kr_sender_take(ring.sender, &why), 0);
        scratch_take_consumer(&ring);
        uint64_t sent = overflow(&ring, 0, 20 + round % 100);
        for (uint64_t i = 0; i < taken; i++) {
            CHECK_EQ(kr_consumer_wait(ring.consumer, LONG_NS, 0), KR_WAIT_READY);
            CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
            CHECK_EQ(scratch_offset(&ring, 0), i);
            CHECK_EQ(scratch_release_all(&ring), 0);
        }
        kr_sender_free(ring.sender);
        kr_area_free(area); /* the pump keeps it */
        ring.sender = NULL;
        ring.producer = NULL;
        take_all(&ring, taken, sent);
        wait_for_the_end(&ring);
        scratch_close(&ring);
        scratch_remove_all();
        wait_for_threads(idle);
        CHECK_EQ(check_open_descriptors(), descriptors);
    }
}

static void a_dropped_handle_ends_when_its_receiver_is_gone(void)
{
    struct scratch_ring ring;
    int idle = idle_threads();
    scratch_open_inbox(&ring, 4096);
    overflow(&ring, 0, 10);
    kr_sender_free(ring.sender);
    ring.sender = NULL;
    ring.producer = NULL;
    CHECK_EQ(threads(), idle + 3);
    kr_consumer_close(ring.consumer);
    wait_for_threads(idle);
    scratch_close(&ring);
}

static void a_close_ends_it_and_counts_what_is_lost(void)
{
    struct scratch_ring ring;
    int idle = idle_threads();
    scratch_open_inbox(&ring, 4096);
    overflow(&ring, 0, 10);
    CHECK_EQ(kr_sender_close(ring.sender), 10);
    CHECK_EQ(kr_sender_close(ring.sender), 0);
    CHECK_EQ(scratch_send(&ring, 0, 1), KR_E_CLOSED);
    wait_for_threads(idle + 1); /* the consumer's role */
    take_all(&ring, 0, 32);
    wait_for_the_end(&ring);
    scratch_close(&ring);
}

static void *close_later(void *argument)
{
    struct scratch_ring *ring = argument;
    uint64_t began = kr_now_ns(), seed = began, until = began + check_below(&seed, 100000);
    while (kr_now_ns() < until) /* a yield could last seconds on a busy core */
        ;
    kr_sender_close(ring->sender);
    return NULL;
}

static void a_close_may_come_at_any_time(void)
{
    int idle = idle_threads();
    for (uint64_t round = check_rounds(300); round; round--) {
        struct scratch_ring ring;
        pthread_t thread;
        uint64_t sent = 0, taken = 0;
        int64_t got;
        scratch_open_inbox(&ring, 4096);
        CHECK(!pthread_create(&thread, NULL, close_later, &ring));
        for (int i = 0; i < 300 && scratch_send(&ring, sent, 100) >= 0; i++)
            sent++;
        while ((got = scratch_drain(&ring, 1000, UINT64_MAX)) > 0 || kr_consumer_wait(ring.consumer, LONG_NS, 0) == KR_WAIT_READY) {
            for (int64_t i = 0; i < got; i++)
                CHECK_EQ(scratch_offset(&ring, (uint64_t)i), taken++);
            if (got > 0)
                CHECK_EQ(scratch_release_all(&ring), 0);
        }
        CHECK(taken <= sent);
        CHECK(!pthread_join(thread, NULL));
        scratch_close(&ring);
        scratch_remove_all();
        wait_for_threads(idle);
    }
}

static void it_waits_for_an_open_reservation(void)
{
    struct scratch_ring ring;
    scratch_open_inbox(&ring, 4096);
    for (int commits = 0; commits < 2; commits++) {
        CHECK(kr_chunk_reserve(ring.sender, 100) >= 0);
        CHECK_EQ(scratch_send(&ring, 7, 10), KR_SEND_OVERFLOW);
        CHECK_EQ(kr_flush(ring.sender, 20000000), KR_WAIT_TIMEOUT);
        CHECK_EQ(scratch_overflow(&ring).events, 1);
        if (commits)
            CHECK(kr_chunk_commit(ring.sender, 100) >= 0); /* behind the frame */
        else
            CHECK_EQ(kr_chunk_abort(ring.sender), 0);
        CHECK_EQ(kr_flush(ring.sender, LONG_NS), KR_WAIT_READY);
        CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1 + commits);
        CHECK_EQ(scratch_release_all(&ring), 0);
    }
    scratch_close(&ring);
}

static void the_descriptor_is_readable_while_nothing_waits(void)
{
    struct scratch_ring ring;
    scratch_open_inbox(&ring, 4096);
    int fd = kr_flushed_fd(ring.sender);
    CHECK(fd >= 0);
    CHECK_EQ(kr_flushed_fd(ring.sender), fd);
    for (uint64_t round = 0, sent = 0; round < 5; round++) {
        struct pollfd watched = {.fd = fd, .events = POLLIN};
        CHECK(scratch_readable(fd));
        uint64_t first = sent;
        sent = overflow(&ring, first, 100);
        CHECK(!scratch_readable(fd));
        take_all(&ring, first, sent);
        CHECK_EQ(poll(&watched, 1, 10000), 1);
    }
    overflow(&ring, 0, 1);
    CHECK(!scratch_readable(fd));
    kr_consumer_close(ring.consumer); /* the overflow cannot move any more */
    CHECK_EQ(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10000), 1);
    CHECK_EQ(kr_flush(ring.sender, LONG_NS), KR_WAIT_GONE);
    scratch_close(&ring);
    CHECK(!scratch_readable(fd));
}

static void a_flush_is_told_when_it_is_over(void)
{
    struct scratch_ring ring;
    scratch_open_inbox(&ring, 4096);
    CHECK_EQ(kr_flush(ring.sender, 0), KR_WAIT_READY);
    uint64_t sent = overflow(&ring, 0, 100);
    CHECK_EQ(kr_flush(ring.sender, 0), KR_WAIT_TIMEOUT);
    CHECK_EQ(kr_flush(ring.sender, 1000000), KR_WAIT_TIMEOUT);
    take_all(&ring, 0, sent);
    CHECK_EQ(kr_flush(ring.sender, LONG_NS), KR_WAIT_READY);
    overflow(&ring, sent, 1);
    kr_sender_close(ring.sender);
    CHECK_EQ(kr_flush(ring.sender, LONG_NS), KR_WAIT_READY); /* nothing waits; the close counted it */
    scratch_close(&ring);
}

/* The end of a process: one deadline for all. */
static void all_inboxes_are_flushed_within_one_deadline(void)
{
    struct scratch_ring rings[3];
    kr_left left[3];
    memset(left, 0, sizeof left);
    for (int i = 0; i < 3; i++) {
        scratch_open_inbox(&rings[i], 4096);
        overflow(&rings[i], 0, 10u + (unsigned)i);
    }
    kr_sender_free(rings[1].sender); /* dropped ones count too */
    rings[1].sender = NULL;
    rings[1].producer = NULL;
    uint64_t before = kr_now_ns();
    CHECK_EQ(kr_inboxes_flush(30000000), 3);
    CHECK(kr_now_ns() - before >= 30000000);
    take_all(&rings[0], 0, 42);
    for (int i = 0; i < 10000 && kr_inboxes_flush(1000000) != 2; i++)
        ;
    CHECK_EQ(kr_inboxes_left(left, 3), 2);
    CHECK_EQ(left[0].events + left[1].events, 11 + 12);
    CHECK(!strcmp(left[0].name, rings[2].name) || !strcmp(left[1].name, rings[2].name));
    CHECK_EQ(kr_inboxes_left(NULL, 0), 2);
    kr_inboxes_close();
    CHECK_EQ(kr_inboxes_left(left, 3), 0);
    CHECK_EQ(kr_inboxes_flush(LONG_NS), 0);
    for (int i = 0; i < 3; i++)
        scratch_close(&rings[i]);
}

static void use_in_child(void *argument)
{
    struct scratch_ring *ring = argument;
    CHECK_EQ(kr_flush(ring->sender, LONG_NS), KR_E_FORKED);
    CHECK_EQ(kr_flushed_fd(ring->sender), KR_E_FORKED);
    CHECK_EQ(kr_overflow_next_mark(ring->sender, 1, LONG_NS), KR_E_FORKED);
    CHECK_EQ(kr_sender_close_when_drained(ring->sender), 1);
    CHECK_EQ(kr_inboxes_flush(LONG_NS), 0); /* they belong to the parent */
    kr_inboxes_close();
    kr_sender_free(ring->sender);
#ifndef __SANITIZE_THREAD__ /* which can not follow threads that a child of threads starts */
    struct scratch_ring own; /* the child has its own inboxes */
    scratch_open_inbox(&own, 4096);
    uint64_t sent = overflow(&own, 0, 50);
    CHECK_EQ(kr_inboxes_flush(0), 1);
    take_all(&own, 0, sent);
    CHECK_EQ(kr_flush(own.sender, LONG_NS), KR_WAIT_READY);
    scratch_close(&own);
#endif
}

static void a_fork_leaves_it_with_the_parent(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_open_inbox(&ring, 4096);
    uint64_t sent = overflow(&ring, 0, 100);
    child_start(&child, use_in_child, &ring);
    child_end(&child);
    take_all(&ring, 0, sent);
    CHECK_EQ(kr_flush(ring.sender, LONG_NS), KR_WAIT_READY);
    scratch_close(&ring);
}

/* A limit on threads does not apply to root. */
static void become_limited(void)
{
    if (!getuid())
        CHECK(!setgid(65534) && !setuid(65534));
}

static void forbid_threads(struct rlimit *before)
{
    CHECK(!getrlimit(RLIMIT_NPROC, before));
    CHECK(!setrlimit(RLIMIT_NPROC, &(struct rlimit){0, before->rlim_max}));
}

static void without_threads(void *argument)
{
    struct scratch_ring ring;
    struct rlimit before;
    uint64_t sent = 0;
    int code;
    (void)argument;
    become_limited();
    scratch_open_inbox(&ring, 4096);
    forbid_threads(&before);
    while ((code = scratch_send(&ring, sent++, 100)) == KR_SEND_RING)
        ;
    CHECK_EQ(code, KR_SEND_OVERFLOW | KR_SEND_NO_THREAD);
    for (int i = 0; i < 99; i++)
        CHECK_EQ(scratch_send(&ring, sent++, 100), KR_SEND_OVERFLOW); /* reported once */
    CHECK_EQ(kr_flush(ring.sender, 1000000), KR_WAIT_TIMEOUT);
    scratch_take_frames(&ring, 0, 31);
    CHECK_EQ(kr_flush(ring.sender, 0), KR_WAIT_TIMEOUT); /* the flush itself moves what fits */
    scratch_take_frames(&ring, 32, 63);
    CHECK(!setrlimit(RLIMIT_NPROC, &before));
    CHECK_EQ(scratch_send(&ring, sent++, 100), KR_SEND_OVERFLOW); /* starts the pump */
    take_all(&ring, 64, sent);
    CHECK_EQ(kr_flush(ring.sender, LONG_NS), KR_WAIT_READY);
    scratch_close(&ring);
    scratch_remove_all();
}

static void without_a_thread_a_flush_moves_it_and_a_later_send_starts_it(void)
{
    struct child child;
    child_start(&child, without_threads, NULL);
    child_end(&child);
}

static void dropped_without_threads(void *argument)
{
    struct scratch_ring ring, other;
    struct rlimit before;
    (void)argument;
    become_limited();
    int idle = idle_threads();
    for (int at_the_end = 0; at_the_end < 2; at_the_end++) {
        scratch_open_inbox(&ring, 4096);
        forbid_threads(&before);
        uint64_t sent = overflow(&ring, 0, 10);
        kr_sender_free(ring.sender);
        ring.sender = NULL;
        ring.producer = NULL;
        CHECK_EQ(threads(), idle + 2);
        if (at_the_end) {
            CHECK_EQ(kr_inboxes_flush(0), 1);
            scratch_take_frames(&ring, 0, 31);
            CHECK_EQ(kr_inboxes_flush(0), 1); /* the flush moves it, because it was not empty */
            CHECK_EQ(kr_inboxes_flush(0), 0);
            CHECK(!setrlimit(RLIMIT_NPROC, &before));
        } else {
            CHECK(!setrlimit(RLIMIT_NPROC, &before));
            scratch_open_inbox(&other, 4096); /* the next handle that takes a role starts the dropped one's pump */
            scratch_take_frames(&ring, 0, 31);
            scratch_close(&other);
        }
        take_all(&ring, 32, sent);
        wait_for_the_end(&ring);
        scratch_close(&ring);
        wait_for_threads(idle);
    }
    scratch_remove_all();
}

static void what_was_dropped_without_a_thread_arrives_when_there_is_one_or_at_the_end(void)
{
    struct child child;
    child_start(&child, dropped_without_threads, NULL);
    child_end(&child);
}

static void snapshots_are_counted_as_they_are_sent(void)
{
    struct scratch_ring ring;
    kr_snapshots_sent sent;
    kr_stats stats;
    uint64_t accepted;
    scratch_open_inbox(&ring, 4096);
    overflow(&ring, 0, 10);
    CHECK(send_plain(ring.sender, 1, 0, "", 0) >= 0);
    CHECK_EQ(kr_sender_snapshots(ring.sender, &sent), 0);
    CHECK(sent.ended == 0 && sent.is_open == 1);
    const uint8_t kinds[] = {2, 1, 3};
    const uint64_t offsets[] = {0, 0, 9};
    const uint32_t argcs[] = {1, 0, 0}, lengths[] = {10};
    CHECK(send_many(ring.sender, 3, kinds, offsets, argcs, scratch_bytes, lengths, 1, &accepted) >= 0);
    CHECK_EQ(kr_sender_snapshots(ring.sender, &sent), 0);
    CHECK(sent.ended == 1 && sent.is_open == 0);
    kr_map_stats(ring.map, &stats);
    CHECK(stats.producer_words[4] == 0 && stats.producer_words[5] == 1);
    kr_sender_close(ring.sender); /* none of them was published: a successor counts none */
    kr_sender_free(ring.sender);
    kr_failure why = {0};
    scratch_new_sender(&ring);
    CHECK_EQ(kr_sender_take(ring.sender, &why), 0);
    kr_map_stats(ring.map, &stats);
    CHECK(stats.producer_words[4] == 0 && stats.producer_words[5] == 0);
    scratch_close(&ring);
}

static void a_handle_takes_its_role_once_and_gives_it_up_once(void)
{
    struct scratch_ring ring;
    kr_failure why = {0};
    scratch_create(&ring, 4096);
    int idle = idle_threads();
    scratch_new_sender(&ring);
    CHECK_EQ(kr_producer_has_role(ring.producer), 0);
    CHECK_EQ(send_plain(ring.sender, KR_KIND_SNAPSHOT_BEGIN, 0, "", 0), KR_E_CLOSED);
    CHECK_EQ(threads(), idle);
    CHECK_EQ(kr_sender_take(ring.sender, &why), 0);
    CHECK_EQ(kr_sender_take(ring.sender, &why), 0); /* it already has the role */
    CHECK_EQ(threads(), idle + 1);
    kr_sender *second = kr_sender_new(ring.map, ring.area);
    CHECK_EQ(kr_sender_take(second, &why), KR_E_TAKEN);
    kr_sender_close(ring.sender);
    CHECK_EQ(kr_sender_take(ring.sender, &why), KR_E_CLOSED);
    CHECK_EQ(kr_sender_take(second, &why), 0); /* a role that was refused can be taken later */
    kr_sender_free(second);
    kr_sender_free(ring.sender);
    wait_for_threads(idle);
    ring.sender = NULL;
    ring.producer = kr_producer_new(ring.map, ring.area);
    CHECK_EQ(kr_producer_has_role(ring.producer), 0);
    CHECK_EQ(kr_producer_write(ring.producer, "x", 1), KR_E_CLOSED);
    CHECK_EQ(threads(), idle);
    CHECK_EQ(kr_producer_take(ring.producer, &why), 0);
    CHECK_EQ(kr_producer_take(ring.producer, &why), 0);
    CHECK_EQ(threads(), idle + 1);
    kr_producer *other = kr_producer_new(ring.map, ring.area);
    CHECK_EQ(kr_producer_take(other, &why), KR_E_TAKEN);
    kr_producer_close(ring.producer);
    CHECK_EQ(kr_producer_take(ring.producer, &why), KR_E_CLOSED);
    CHECK_EQ(kr_producer_take(other, &why), 0);
    kr_producer_free(other);
    kr_producer_free(ring.producer);
    wait_for_threads(idle);
    ring.sender = NULL;
    ring.producer = NULL;
    ring.consumer = kr_consumer_new(ring.map, ring.area);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), KR_E_CLOSED);
    CHECK_EQ(kr_consumer_take(ring.consumer, &why), 0);
    CHECK_EQ(kr_consumer_take(ring.consumer, &why), 0);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 0);
    kr_consumer_close(ring.consumer);
    CHECK_EQ(kr_consumer_take(ring.consumer, &why), KR_E_CLOSED);
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(it_starts_with_the_first_overflow_and_ends_with_the_last),
    CASE(what_was_dropped_with_its_handle_still_arrives),
    CASE(a_dropped_handle_ends_when_its_receiver_is_gone),
    CASE(a_close_ends_it_and_counts_what_is_lost),
    CASE(a_close_may_come_at_any_time),
    CASE(it_waits_for_an_open_reservation),
    CASE(the_descriptor_is_readable_while_nothing_waits),
    CASE(a_flush_is_told_when_it_is_over),
    CASE(all_inboxes_are_flushed_within_one_deadline),
    CASE(a_fork_leaves_it_with_the_parent),
    CASE(without_a_thread_a_flush_moves_it_and_a_later_send_starts_it),
    CASE(what_was_dropped_without_a_thread_arrives_when_there_is_one_or_at_the_end),
    CASE(snapshots_are_counted_as_they_are_sent),
    CASE(a_handle_takes_its_role_once_and_gives_it_up_once),
};
CHECK_MAIN(cases)
