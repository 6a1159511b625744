/* The peer's death without a pidfd for it: after an exec, in another pid namespace, of a process that is not the holder. */
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "ring/ring.h"
#include "check.h"
#include "scratch_ring.h"

#define NO_PID 4194303u /* beyond the largest that a system gives by default */

static void watched(const struct scratch_ring *ring, int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    CHECK_EQ(poll(&one, 1, 30000), 1); /* times out if nothing reports it */
}

static void take_and_exec(struct scratch_ring *ours, void (*take)(struct scratch_ring *ring))
{
    struct scratch_ring ring;
    scratch_attach(&ring, ours->name);
    take(&ring);
    child_say('t');
    child_hear();
    execl("/bin/sleep", "sleep", "50", (char *)NULL);
}

static void be_producer_and_exec(void *argument) { take_and_exec(argument, scratch_take_producer); }
static void be_consumer_and_exec(void *argument) { take_and_exec(argument, scratch_take_consumer); }

static void a_consumers_descriptor_tells_of_an_exec(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_create(&ring, 4096);
    child_start(&child, be_producer_and_exec, &ring);
    CHECK_EQ(child_listen(&child), 't');
    scratch_take_consumer(&ring);
    int fd = kr_consumer_wait_fd(ring.consumer);
    CHECK(ring.consumer->peer.pidfd >= 0);
    child_tell(&child, 'e');
    while (kr_consumer_wait(ring.consumer, 0, 0) != KR_WAIT_GONE)
        watched(&ring, fd);
    CHECK_EQ(kill(child.pid, 0), 0); /* the process lives */
    child_kill(&child);
    child_reap(&child);
    scratch_close(&ring);
}

static void a_producers_descriptor_tells_of_an_exec(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_create(&ring, 4096);
    child_start(&child, be_consumer_and_exec, &ring);
    CHECK_EQ(child_listen(&child), 't');
    scratch_take_producer(&ring);
    while (kr_producer_write(ring.producer, "12345678", 8) == 1)
        ;
    int fd = kr_producer_wait_fd(ring.producer, 4000);
    child_tell(&child, 'e');
    while (kr_producer_wait(ring.producer, 4000, 0) != KR_WAIT_GONE)
        watched(&ring, fd);
    child_kill(&child);
    child_reap(&child);
    scratch_close(&ring);
}

static void sleeps_see_an_exec(void)
{
    struct scratch_ring ring;
    struct child child;
    int code;
    scratch_create(&ring, 4096);
    child_start(&child, be_producer_and_exec, &ring);
    CHECK_EQ(child_listen(&child), 't');
    scratch_take_consumer(&ring);
    child_tell(&child, 'e');
    do
        code = kr_consumer_wait(ring.consumer, -1, 0);
    while (code == KR_WAIT_INTERRUPTED);
    CHECK_EQ(code, KR_WAIT_GONE);
    child_kill(&child);
    child_reap(&child);
    scratch_close(&ring);
}

/* As if the holder of the producer role were in another pid namespace, where its process has this pid. */
static void pretend(struct scratch_ring *ring, uint32_t pid, uint64_t start)
{
    struct kr_claim *claim = &ring->map->header->producer;
    store_release32(&claim->pid, pid);
    store_release(&claim->start, start);
    store_release(&claim->epoch, load_relaxed(&claim->epoch) + 1);
}

static void a_pid_of_another_namespace_is_not_watched_and_the_word_is(void)
{
    const uint32_t pids[] = {(uint32_t)getpid(), 1, NO_PID};
    for (int i = 0; i < 3; i++) {
        struct scratch_ring ring;
        scratch_open(&ring, 4096);
        int fd = kr_consumer_wait_fd(ring.consumer);
        pretend(&ring, pids[i], kr_process_start((uint32_t)getpid()) + 12345);
        struct kr_watch watch = kr_peer_watch(&ring.consumer->peer);
        CHECK_EQ(watch.pidfd, -1);
        CHECK_EQ(watch.slice_ns, KR_BLIND_SLICE_NS);
        CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_TIMEOUT);
        uint32_t held = load_acquire32(&ring.map->header->producer.word);
        store_release32(&ring.map->header->producer.word, held | KR_ROLE_DEAD); /* as the kernel does, without ringing a bell */
        watched(&ring, fd);
        while (kr_consumer_wait(ring.consumer, 0, 0) != KR_WAIT_GONE)
            watched(&ring, fd);
        scratch_close(&ring);
    }
}

static void this_process_and_a_holder_that_can_be_watched_cost_one_look_a_second(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_open(&ring, 4096);
    struct kr_watch watch = kr_peer_watch(&ring.consumer->peer);
    CHECK_EQ(watch.pidfd, -1);
    CHECK_EQ(watch.slice_ns, KR_POLL_SLICE_NS);
    scratch_close(&ring);
    scratch_create(&ring, 4096);
    child_start(&child, be_producer_and_exec, &ring);
    CHECK_EQ(child_listen(&child), 't');
    scratch_take_consumer(&ring);
    watch = kr_peer_watch(&ring.consumer->peer);
    CHECK(watch.pidfd >= 0);
    CHECK_EQ(watch.slice_ns, KR_POLL_SLICE_NS);
    child_kill(&child);
    child_reap(&child);
    scratch_close(&ring);
}

static void say_and_listen(void *nothing)
{
    child_say('h');
    child_hear();
}

static void the_end_of_a_process_that_is_not_the_holder_does_not_spin(void)
{
    for (int descriptor = 0; descriptor < 2; descriptor++) {
        struct scratch_ring ring;
        struct child child;
        scratch_open(&ring, 4096);
        child_start(&child, say_and_listen, NULL);
        CHECK_EQ(child_listen(&child), 'h');
        pretend(&ring, (uint32_t)child.pid, kr_process_start((uint32_t)child.pid));
        int fd = descriptor ? kr_consumer_wait_fd(ring.consumer) : -1;
        CHECK(kr_peer_watch(&ring.consumer->peer).pidfd >= 0);
        child_kill(&child);
        child_reap(&child);
        if (descriptor) {
            watched(&ring, fd);
            while (scratch_readable(fd))
                CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_TIMEOUT);
        } else {
            int code = kr_consumer_wait(ring.consumer, 100000000, 0);
            CHECK(code == KR_WAIT_TIMEOUT || code == KR_WAIT_INTERRUPTED); /* a slice without news is one */
        }
        struct kr_watch watch = kr_peer_watch(&ring.consumer->peer);
        CHECK_EQ(watch.pidfd, -1);
        CHECK_EQ(watch.slice_ns, KR_BLIND_SLICE_NS);
        scratch_close(&ring);
    }
}

static void a_timer_that_has_run_out_is_quiet_after_a_look(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    int fds[] = {kr_consumer_wait_fd(ring.consumer), kr_producer_wait_fd(ring.producer, 8)};
    while (kr_producer_write(ring.producer, "12345678", 8) == 1)
        ;
    CHECK_EQ(kr_producer_wait_fd(ring.producer, 8), fds[1]);
    while (scratch_take(&ring) == 1)
        ;
    while (kr_producer_write(ring.producer, "12345678", 8) == 1)
        ;
    CHECK_EQ(scratch_drain(&ring, 1000, UINT64_MAX), 4096 / 24);
    for (int side = 0; side < 2; side++) {
        if (side)
            kr_producer_wait_fd(ring.producer, 8);
        else
            kr_consumer_wait(ring.consumer, 0, 0);
        watched(&ring, fds[side]);
        CHECK_EQ(side ? kr_producer_wait(ring.producer, 8, 0) : kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_TIMEOUT);
        CHECK(!scratch_readable(fds[side]));
    }
    scratch_close(&ring);
}

static void be_producer_and_write(void *argument)
{
    struct scratch_ring ring;
    scratch_attach(&ring, ((struct scratch_ring *)argument)->name);
    scratch_take_producer(&ring);
    child_say('t');
    child_hear();
    kr_producer_write(ring.producer, "12345678", 8);
    child_say('w');
    child_hear();
}

/* With a descriptor and without one. */
static void an_end_that_is_passed_over_is_quiet_and_a_successor_is_not(void)
{
    for (int descriptor = 0; descriptor < 2; descriptor++) {
        struct scratch_ring ring;
        struct child child;
        kr_role_info info;
        scratch_create(&ring, 4096);
        scratch_take_consumer(&ring);
        int fd = descriptor ? kr_consumer_wait_fd(ring.consumer) : -1;
        for (uint64_t round = 1; round < 4; round++) {
            child_start(&child, be_producer_and_write, &ring);
            CHECK_EQ(child_listen(&child), 't');
            CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_TIMEOUT);
            CHECK_EQ(kr_consumer_peer(ring.consumer, &info), 0);
            child_tell(&child, 'g');
            CHECK_EQ(child_listen(&child), 'w');
            if (descriptor)
                watched(&ring, fd);
            CHECK_EQ(scratch_take(&ring), 1);
            child_kill(&child);
            while (kr_consumer_peer(ring.consumer, &info) == 0)
                check_sleep_ms(1);
            child_reap(&child);
            CHECK_EQ(info.epoch, round);
            CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_GONE);
            CHECK_EQ(kr_consumer_pass_end(ring.consumer, round - 1), 0); /* that of another one changes nothing */
            CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_GONE);
            CHECK_EQ(kr_consumer_pass_end(ring.consumer, round), 0);
            CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_TIMEOUT);
            CHECK_EQ(kr_consumer_peer(ring.consumer, &info), 0);
            CHECK(!descriptor || !scratch_readable(fd));
        }
        scratch_close(&ring);
    }
}

static void a_producer_accepts_a_successor_of_its_consumer(void)
{
    struct scratch_ring ring, other;
    scratch_create(&ring, 4096);
    scratch_take_producer(&ring);
    CHECK_EQ(kr_producer_accept_successor(ring.producer), 1);
    for (int round = 0; round < 3; round++) {
        scratch_attach(&other, ring.name);
        scratch_take_consumer(&other);
        CHECK_EQ(kr_producer_accept_successor(ring.producer), 1);
        CHECK_EQ(kr_producer_write(ring.producer, "12345678", 8), 1);
        CHECK_EQ(scratch_take(&other), 1);
        scratch_close(&other);
        CHECK_EQ(kr_producer_accept_successor(ring.producer), 0);
        CHECK_EQ(kr_producer_write(ring.producer, "12345678", 8), KR_E_PEER_CLOSED);
        CHECK_EQ(kr_producer_accept_successor(ring.producer), 0);
    }
    kr_producer_close(ring.producer);
    CHECK_EQ(kr_producer_accept_successor(ring.producer), KR_E_CLOSED);
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(a_consumers_descriptor_tells_of_an_exec),
    CASE(a_producers_descriptor_tells_of_an_exec),
    CASE(sleeps_see_an_exec),
    CASE(a_pid_of_another_namespace_is_not_watched_and_the_word_is),
    CASE(this_process_and_a_holder_that_can_be_watched_cost_one_look_a_second),
    CASE(the_end_of_a_process_that_is_not_the_holder_does_not_spin),
    CASE(a_timer_that_has_run_out_is_quiet_after_a_look),
    CASE(an_end_that_is_passed_over_is_quiet_and_a_successor_is_not),
    CASE(a_producer_accepts_a_successor_of_its_consumer),
};
CHECK_MAIN(cases)
