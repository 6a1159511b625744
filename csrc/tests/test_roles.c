/* Roles: taken, refused, given up, lost with their process, taken over. */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "open_ring.h"
#include "scratch_ring.h"

/* A child that maps the ring itself, takes a role, says so and waits. */
static void take_consumer(void *argument)
{
    struct scratch_ring *ours = argument, ring;
    scratch_attach(&ring, ours->name);
    scratch_take_consumer(&ring);
    child_say('c');
    child_hear();
}

static void take_producer(void *argument)
{
    struct scratch_ring *ours = argument, ring;
    scratch_attach(&ring, ours->name);
    scratch_take_producer(&ring);
    CHECK_EQ(kr_producer_write(ring.producer, "last words", 10), 1);
    child_say('p');
    child_hear();
}

static uint32_t state_of(struct scratch_ring *ring, int role)
{
    kr_stats stats;
    kr_map_stats(ring->map, &stats);
    return role == KR_ROLE_PRODUCER ? stats.producer.state : stats.consumer.state;
}

static int write_until_refused(struct scratch_ring *ring)
{
    int code;
    while ((code = kr_producer_write(ring->producer, "", 0)) >= 0)
        check_sleep_ms(1);
    return code;
}

static void a_role_has_one_holder(void)
{
    struct scratch_ring ring;
    kr_failure why = {0};
    scratch_open(&ring, 4096);
    CHECK(!kr_producer_open(ring.map, ring.area, &why));
    CHECK_EQ(why.code, KR_E_TAKEN);
    CHECK_EQ(why.pid, getpid());
    why.code = 0;
    CHECK(!kr_consumer_open(ring.map, ring.area, &why));
    CHECK_EQ(why.code, KR_E_TAKEN);
    scratch_close(&ring);
}

static void a_role_of_another_process_is_taken_too(void)
{
    struct scratch_ring ring;
    struct child child;
    kr_failure why = {0};
    scratch_create(&ring, 4096);
    child_start(&child, take_consumer, &ring);
    CHECK_EQ(child_listen(&child), 'c');
    CHECK(!kr_consumer_open(ring.map, ring.area, &why));
    CHECK_EQ(why.code, KR_E_TAKEN);
    CHECK_EQ(why.pid, child.pid);
    child_kill(&child);
    child_reap(&child);
    scratch_take_consumer(&ring);
    scratch_close(&ring);
}

static void a_role_given_up_may_be_taken_again(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    scratch_create(&ring, 4096);
    for (uint64_t i = 0; i < 20; i++) {
        scratch_take_producer(&ring);
        scratch_take_consumer(&ring);
        kr_map_stats(ring.map, &stats);
        CHECK_EQ(stats.producer.epoch, i + 1);
        CHECK_EQ(stats.consumer.epoch, i + 1);
        CHECK_EQ(stats.producer.pid, getpid());
        CHECK_EQ(stats.producer.state, 1);
        CHECK_EQ(kr_producer_write(ring.producer, "x", 1), 1);
        CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
        CHECK_EQ(scratch_release_all(&ring), 0);
        kr_producer_free(ring.producer);
        CHECK_EQ(state_of(&ring, KR_ROLE_PRODUCER), 3);
        kr_consumer_free(ring.consumer);
        CHECK_EQ(state_of(&ring, KR_ROLE_CONSUMER), 3);
    }
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.events_in, 20);
    CHECK_EQ(stats.events_out, 20);
    ring.producer = NULL;
    ring.consumer = NULL;
    scratch_close(&ring);
}

static void a_killed_consumer_is_dead_before_it_is_reaped(void)
{
    for (int round = 0; round < 20; round++) {
        struct scratch_ring ring;
        struct child child;
        kr_role_info info;
        scratch_create(&ring, 1 << 20);
        scratch_take_producer(&ring);
        child_start(&child, take_consumer, &ring);
        CHECK_EQ(child_listen(&child), 'c');
        CHECK_EQ(kr_producer_write(ring.producer, "", 0), 1);
        child_kill(&child);
        CHECK_EQ(write_until_refused(&ring), KR_E_PEER_DEAD);
        CHECK_EQ(kr_producer_peer(ring.producer, &info), KR_E_PEER_DEAD);
        CHECK_EQ(info.state, 2);
        CHECK_EQ(info.pid, child.pid);
        CHECK_EQ(kr_producer_wait(ring.producer, 1, -1), KR_WAIT_GONE);
        int status = child_reap(&child);
        CHECK(WIFSIGNALED(status));
        scratch_close(&ring);
    }
}

static void a_killed_producer_leaves_what_it_published(void)
{
    struct scratch_ring ring;
    struct child child;
    kr_role_info info;
    scratch_create(&ring, 4096);
    scratch_take_consumer(&ring);
    child_start(&child, take_producer, &ring);
    CHECK_EQ(child_listen(&child), 'p');
    child_kill(&child);
    CHECK_EQ(kr_consumer_wait(ring.consumer, -1, 0), KR_WAIT_READY);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
    CHECK(!memcmp(scratch_payload(&ring, 0), "last words", 10));
    CHECK_EQ(scratch_release_all(&ring), 0);
    int found;
    while ((found = kr_consumer_wait(ring.consumer, -1, 0)) == KR_WAIT_INTERRUPTED)
        ;
    CHECK_EQ(found, KR_WAIT_GONE);
    CHECK_EQ(kr_consumer_peer(ring.consumer, &info), KR_E_PEER_DEAD);
    while (kr_process_alive((uint32_t)child.pid, info.start)) /* the kernel writes the word a moment before the process is a zombie */
        check_sleep_ms(1);
    CHECK_EQ(kr_process_start((uint32_t)child.pid), info.start);
    child_reap(&child);
    CHECK_EQ(kr_process_start((uint32_t)child.pid), 0);
    scratch_close(&ring);
}

static void a_stopped_process_is_not_dead(void)
{
    struct scratch_ring ring;
    struct child child;
    kr_role_info info;
    int status;
    scratch_create(&ring, 1 << 16);
    scratch_take_producer(&ring);
    child_start(&child, take_consumer, &ring);
    CHECK_EQ(child_listen(&child), 'c');
    CHECK(!kill(child.pid, SIGSTOP));
    CHECK(waitpid(child.pid, &status, WUNTRACED) == child.pid && WIFSTOPPED(status));
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(kr_producer_write(ring.producer, "", 0), 1);
        CHECK_EQ(kr_producer_peer(ring.producer, &info), 0);
        check_sleep_ms(1);
    }
    CHECK_EQ(info.state, 1);
    CHECK(kr_process_alive(info.pid, info.start));
    child_kill(&child);
    CHECK_EQ(write_until_refused(&ring), KR_E_PEER_DEAD);
    child_reap(&child);
    scratch_close(&ring);
}

static void take_consumer_and_fork(void *argument)
{
    struct scratch_ring *ours = argument, ring;
    int gate[2];
    scratch_attach(&ring, ours->name);
    scratch_take_consumer(&ring);
    CHECK(!pipe(gate));
    if (fork() == 0) { /* stays until every other end of its pipe to the test is closed */
        child_say('g');
        child_hear();
        _exit(0);
    }
    child_hear();
}

static void a_child_of_the_holder_does_not_keep_the_role_alive(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_create(&ring, 1 << 16);
    scratch_take_producer(&ring);
    child_start(&child, take_consumer_and_fork, &ring);
    CHECK_EQ(child_listen(&child), 'g');
    CHECK_EQ(kr_producer_write(ring.producer, "", 0), 1);
    child_kill(&child);
    CHECK_EQ(write_until_refused(&ring), KR_E_PEER_DEAD);
    child_reap(&child); /* closes the pipes: the grandchild ends */
    scratch_close(&ring);
}

static void take_consumer_and_exit(void *argument)
{
    struct scratch_ring *ours = argument, ring;
    scratch_attach(&ring, ours->name);
    scratch_take_consumer(&ring);
}

static void take_consumer_and_exec(void *argument)
{
    struct scratch_ring *ours = argument, ring;
    scratch_attach(&ring, ours->name);
    scratch_take_consumer(&ring);
    execl("/bin/sleep", "sleep", "20", (char *)NULL);
}

static void a_holder_that_exits_or_execs_without_closing_is_dead(void)
{
    void (*const ways[])(void *) = {take_consumer_and_exit, take_consumer_and_exec};
    for (int way = 0; way < 2; way++) {
        struct scratch_ring ring;
        struct child child;
        scratch_create(&ring, 1 << 16);
        scratch_take_producer(&ring);
        child_start(&child, ways[way], &ring);
        CHECK_EQ(write_until_refused(&ring), KR_E_PEER_DEAD);
        kill(child.pid, SIGKILL);
        child_reap(&child);
        scratch_close(&ring);
    }
}

static void a_dead_holders_role_is_taken_over(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_create(&ring, 4096);
    scratch_take_consumer(&ring);
    for (int i = 0; i < 3; i++) {
        child_start(&child, take_producer, &ring);
        CHECK_EQ(child_listen(&child), 'p');
        child_kill(&child);
        child_reap(&child);
        CHECK_EQ(state_of(&ring, KR_ROLE_PRODUCER), 2);
    }
    scratch_take_producer(&ring);
    CHECK_EQ(kr_producer_write(ring.producer, "mine", 4), 1);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 4);
    CHECK(!memcmp(scratch_payload(&ring, 2), "last words", 10));
    CHECK(!memcmp(scratch_payload(&ring, 3), "mine", 4));
    scratch_close(&ring);
}

static void use_inherited_handles(void *argument)
{
    struct scratch_ring *ring = argument;
    uint32_t length = 0;
    kr_role_info info;
    CHECK_EQ(kr_producer_write(ring->producer, "", 0), KR_E_FORKED);
    CHECK_EQ(kr_producer_write_many(ring->producer, "", 0, &length, 1), KR_E_FORKED);
    CHECK_EQ(kr_producer_reserve(ring->producer, 1), KR_E_FORKED);
    CHECK_EQ(kr_producer_commit(ring->producer, 1), KR_E_FORKED);
    CHECK_EQ(kr_producer_abort(ring->producer), KR_E_FORKED);
    CHECK_EQ(kr_producer_publish(ring->producer), KR_E_FORKED);
    CHECK_EQ(kr_producer_wait(ring->producer, 1, -1), KR_E_FORKED);
    CHECK_EQ(kr_producer_wait_fd(ring->producer, 1), KR_E_FORKED);
    CHECK_EQ(kr_producer_peer(ring->producer, &info), KR_E_FORKED);
    CHECK_EQ(kr_producer_set_word(ring->producer, 0, 1), KR_E_FORKED);
    CHECK_EQ(scratch_drain(ring, 1, UINT64_MAX), KR_E_FORKED);
    CHECK_EQ(kr_consumer_release(ring->consumer, 0, 0, 1), KR_E_FORKED);
    CHECK_EQ(kr_consumer_wait(ring->consumer, -1, 0), KR_E_FORKED);
    CHECK_EQ(kr_consumer_wait_fd(ring->consumer), KR_E_FORKED);
    CHECK_EQ(kr_consumer_set_word(ring->consumer, 0, 1), KR_E_FORKED);
    scratch_close(ring); /* every exit of a child does this with the handles that it inherited */
    child_say('d');
    child_hear();
}

static void inherited_handles_are_refused_and_harmless(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_open(&ring, 4096);
    CHECK(kr_producer_wait_fd(ring.producer, 1) >= 0);
    CHECK(kr_consumer_wait_fd(ring.consumer) >= 0);
    CHECK_EQ(kr_producer_write(ring.producer, "before", 6), 1);
    uint32_t forks = kr_forks_made();
    child_start(&child, use_inherited_handles, &ring);
    CHECK_EQ(kr_forks_made(), forks + 1);
    CHECK_EQ(child_listen(&child), 'd');
    CHECK_EQ(state_of(&ring, KR_ROLE_PRODUCER), 1);
    CHECK_EQ(kr_producer_write(ring.producer, "after", 5), 1);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 2);
    CHECK_EQ(scratch_release_all(&ring), 0);
    child_tell(&child, 'e');
    child_end(&child);
    CHECK_EQ(state_of(&ring, KR_ROLE_CONSUMER), 1);
    CHECK_EQ(kr_producer_write(ring.producer, "still", 5), 1);
    scratch_close(&ring);
}

static void take_roles_in_the_child(void *argument)
{
    struct scratch_ring *ring = argument; /* the child inherited the map, and takes its own roles */
    scratch_take_producer(ring);
    scratch_take_consumer(ring);
    CHECK_EQ(kr_producer_write(ring->producer, "child", 5), 1);
    CHECK_EQ(scratch_drain(ring, 1, UINT64_MAX), 1);
    CHECK_EQ(scratch_release_all(ring), 0);
    kr_producer_close(ring->producer);
    kr_consumer_close(ring->consumer);
}

static void an_inherited_map_may_be_used_to_take_a_role(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_create(&ring, 4096);
    child_start(&child, take_roles_in_the_child, &ring);
    child_end(&child);
    CHECK_EQ(state_of(&ring, KR_ROLE_PRODUCER), 3);
    CHECK_EQ(state_of(&ring, KR_ROLE_CONSUMER), 3);
    scratch_close(&ring);
}

static void positions_that_do_not_fit_are_corrupt(void)
{
    const uint64_t bad[][2] = {{8192, 0}, {0, 8}, {12, 8}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct scratch_ring ring;
        kr_failure why = {0};
        scratch_create(&ring, 4096);
        store_relaxed(&ring.map->header->tail, bad[i][0]);
        store_relaxed(&ring.map->header->head, bad[i][1]);
        CHECK(!kr_producer_open(ring.map, ring.area, &why));
        CHECK_EQ(why.code, KR_E_CORRUPT);
        CHECK_EQ(state_of(&ring, KR_ROLE_PRODUCER), 3); /* no handle holds it */
        store_relaxed(&ring.map->header->head, i == 2 ? 4 : bad[i][1]);
        why.code = 0;
        CHECK(!kr_consumer_open(ring.map, ring.area, &why));
        CHECK_EQ(why.code, KR_E_CORRUPT);
        scratch_close(&ring);
    }
}

static void a_process_is_told_from_another_with_its_number(void)
{
    uint32_t pid = (uint32_t)getpid();
    uint64_t start = kr_process_start(pid);
    CHECK(start > 0);
    CHECK(kr_process_alive(pid, start));
    CHECK(!kr_process_alive(pid, start + 1));
    CHECK(!kr_process_alive(0x3ffffff0, 1));
    CHECK_EQ(kr_process_start(0x3ffffff0), 0);
}

static void nothing_is_left_of_a_handle(void)
{
    int before = check_open_descriptors();
    for (int i = 0; i < 30; i++) {
        struct scratch_ring ring;
        struct child child;
        scratch_create(&ring, 4096);
        scratch_take_consumer(&ring);
        CHECK(kr_consumer_wait_fd(ring.consumer) >= 0);
        child_start(&child, take_producer, &ring);
        CHECK_EQ(child_listen(&child), 'p');
        CHECK_EQ(kr_consumer_wait(ring.consumer, -1, 0), KR_WAIT_READY);
        CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
        CHECK_EQ(scratch_release_all(&ring), 0);
        CHECK_EQ(kr_consumer_wait(ring.consumer, 1000000, 0), KR_WAIT_TIMEOUT);
        child_kill(&child);
        child_reap(&child);
        CHECK_EQ(kr_consumer_wait(ring.consumer, -1, 0), KR_WAIT_GONE);
        scratch_close(&ring);
        scratch_remove_all();
    }
    CHECK_EQ(check_open_descriptors(), before);
}

static const struct check_case cases[] = {
    CASE(a_role_has_one_holder),
    CASE(a_role_of_another_process_is_taken_too),
    CASE(a_role_given_up_may_be_taken_again),
    CASE(a_killed_consumer_is_dead_before_it_is_reaped),
    CASE(a_killed_producer_leaves_what_it_published),
    CASE(a_stopped_process_is_not_dead),
    CASE(a_child_of_the_holder_does_not_keep_the_role_alive),
    CASE(a_holder_that_exits_or_execs_without_closing_is_dead),
    CASE(a_dead_holders_role_is_taken_over),
    CASE(inherited_handles_are_refused_and_harmless),
    CASE(an_inherited_map_may_be_used_to_take_a_role),
    CASE(positions_that_do_not_fit_are_corrupt),
    CASE(a_process_is_told_from_another_with_its_number),
    CASE(nothing_is_left_of_a_handle),
};
CHECK_MAIN(cases)
