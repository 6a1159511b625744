/* A sleeper is woken by the event that it waits for, by the end of the other side, and by a successor of that side. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring/ring.h"
#include "check.h"
#include "scratch_ring.h"

static void write_some(struct scratch_ring *ring, int records)
{
    for (int i = 0; i < records; i++)
        CHECK_EQ(kr_producer_write(ring->producer, "12345678", 8), 1);
}

static void drain_some(struct scratch_ring *ring, int64_t records)
{
    CHECK_EQ(scratch_drain(ring, (uint64_t)records, UINT64_MAX), records);
    CHECK_EQ(scratch_release_all(ring), 0);
}

/* Waits without a limit, as the layers above do. */
static int consumer_wait(struct scratch_ring *ring)
{
    int found;
    while ((found = kr_consumer_wait(ring->consumer, -1, 0)) == KR_WAIT_INTERRUPTED)
        ;
    return found;
}

static int producer_wait(struct scratch_ring *ring, uint64_t length)
{
    int found;
    while ((found = kr_producer_wait(ring->producer, length, -1)) == KR_WAIT_INTERRUPTED)
        ;
    return found;
}

static void sleep_on(int descriptor)
{
    struct pollfd watched = {.fd = descriptor, .events = POLLIN};
    CHECK_EQ(poll(&watched, 1, -1), 1);
}

/* The state directly before a sleep, for any content of the FIFO. */
static void park(struct scratch_ring *ring) { CHECK_EQ(kr_consumer_wait(ring->consumer, 1000000, 0), KR_WAIT_TIMEOUT); }

static void *write_one(void *argument)
{
    check_sleep_ms(20);
    write_some(argument, 1);
    return NULL;
}

static void *close_producer(void *argument)
{
    check_sleep_ms(20);
    kr_producer_close(((struct scratch_ring *)argument)->producer);
    return NULL;
}

static void *close_consumer(void *argument)
{
    check_sleep_ms(20);
    kr_consumer_close(((struct scratch_ring *)argument)->consumer);
    return NULL;
}

static void *free_all(void *argument)
{
    check_sleep_ms(20);
    drain_some(argument, 4096 / 24);
    return NULL;
}

static void a_parked_consumer_is_woken(void)
{
    static const struct {
        void *(*wake)(void *);
        int expected;
    } ways[] = {{write_one, KR_WAIT_READY}, {close_producer, KR_WAIT_GONE}, {close_consumer, KR_E_CLOSED}};
    for (int watched = 0; watched < 2; watched++)
        for (int way = 0; way < 3; way++) {
            struct scratch_ring ring;
            pthread_t thread;
            scratch_open(&ring, 4096);
            int fd = watched ? kr_consumer_wait_fd(ring.consumer) : -1;
            CHECK(!pthread_create(&thread, NULL, ways[way].wake, &ring));
            if (watched)
                sleep_on(fd);
            CHECK_EQ(consumer_wait(&ring), ways[way].expected);
            CHECK(!pthread_join(thread, NULL));
            scratch_close(&ring);
        }
}

static void a_parked_producer_is_woken(void)
{
    static const struct {
        void *(*wake)(void *);
        int expected;
    } ways[] = {{free_all, KR_WAIT_READY}, {close_consumer, KR_WAIT_GONE}, {close_producer, KR_E_CLOSED}};
    for (int watched = 0; watched < 2; watched++)
        for (int way = 0; way < 3; way++) {
            struct scratch_ring ring;
            pthread_t thread;
            scratch_open(&ring, 4096);
            write_some(&ring, 4096 / 24);
            int fd = watched ? kr_producer_wait_fd(ring.producer, 1000) : -1;
            CHECK(!pthread_create(&thread, NULL, ways[way].wake, &ring));
            if (watched)
                sleep_on(fd);
            CHECK_EQ(producer_wait(&ring, 1000), ways[way].expected);
            CHECK(!pthread_join(thread, NULL));
            scratch_close(&ring);
        }
}

static void hold_producer(void *argument)
{
    struct scratch_ring *ours = argument, ring;
    scratch_attach(&ring, ours->name);
    scratch_take_producer(&ring);
    child_say('p');
    child_hear();
}

static void hold_consumer(void *argument)
{
    struct scratch_ring *ours = argument, ring;
    scratch_attach(&ring, ours->name);
    scratch_take_consumer(&ring);
    child_say('c');
    child_hear();
}

static void *kill_child(void *argument)
{
    check_sleep_ms(20);
    child_kill(argument);
    return NULL;
}

static void death_wakes_a_parked_peer(void)
{
    for (int watched = 0; watched < 2; watched++)
        for (int role = 0; role < 2; role++) {
            struct scratch_ring ring;
            struct child child;
            pthread_t thread;
            int fd = -1;
            scratch_create(&ring, 4096);
            if (role == KR_ROLE_CONSUMER) {
                scratch_take_consumer(&ring);
                child_start(&child, hold_producer, &ring);
            } else {
                scratch_take_producer(&ring);
                write_some(&ring, 4096 / 24);
                child_start(&child, hold_consumer, &ring);
            }
            CHECK(child_listen(&child));
            if (watched)
                fd = role == KR_ROLE_CONSUMER ? kr_consumer_wait_fd(ring.consumer) : kr_producer_wait_fd(ring.producer, 1000);
            CHECK(!pthread_create(&thread, NULL, kill_child, &child));
            if (watched)
                sleep_on(fd);
            CHECK_EQ(role == KR_ROLE_CONSUMER ? consumer_wait(&ring) : producer_wait(&ring, 1000), KR_WAIT_GONE);
            CHECK(!pthread_join(thread, NULL));
            child_reap(&child);
            scratch_close(&ring);
        }
}

static void a_new_peer_wakes_who_waits_for_one(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_create(&ring, 4096);
    scratch_take_consumer(&ring);
    int fd = kr_consumer_wait_fd(ring.consumer);
    CHECK(!scratch_readable(fd));
    child_start(&child, hold_producer, &ring);
    CHECK_EQ(child_listen(&child), 'p');
    CHECK(scratch_readable(fd));
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 0);
    CHECK(!scratch_readable(fd));
    child_kill(&child); /* from now on its death is watched */
    sleep_on(fd);
    CHECK_EQ(consumer_wait(&ring), KR_WAIT_GONE);
    child_reap(&child);
    scratch_close(&ring);
}

static volatile sig_atomic_t signals;

static void *wait_once(void *argument)
{
    struct scratch_ring *ring = argument;
    return (void *)(intptr_t)kr_consumer_wait(ring->consumer, -1, 0);
}

static void what_is_seen_again_wakes_a_waiter(void)
{
    struct scratch_ring ring;
    pthread_t waiter;
    void *found;
    scratch_open(&ring, 4096);
    write_some(&ring, 1);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    pthread_create(&waiter, NULL, wait_once, &ring);
    while (!load_relaxed32(&ring.consumer->sleepers))
        check_sleep_ms(1);
    check_sleep_ms(20);
    CHECK_EQ(kr_consumer_release(ring.consumer, ring.batch.position, 0, 1), 0);
    pthread_join(waiter, &found);
    CHECK_EQ((intptr_t)found, KR_WAIT_READY); /* and not because its slice was over */
    scratch_close(&ring);
}

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void signal_parent(void *argument)
{
    (void)argument;
    child_hear();
    check_sleep_ms(10);
    kill(getppid(), SIGUSR1);
}

static void a_signal_interrupts_a_wait(void)
{
    struct scratch_ring ring;
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    CHECK(!sigaction(SIGUSR1, &action, &before));
    for (int role = 0; role < 2; role++) {
        struct child child;
        child_start(&child, signal_parent, NULL);
        scratch_open(&ring, 4096);
        write_some(&ring, role == KR_ROLE_PRODUCER ? 4096 / 24 : 0);
        signals = 0;
        child_tell(&child, 'g');
        while (!signals)
            CHECK_EQ(role == KR_ROLE_PRODUCER ? kr_producer_wait(ring.producer, 1000, -1)
                                              : kr_consumer_wait(ring.consumer, -1, 0),
                     KR_WAIT_INTERRUPTED);
        child_end(&child);
        scratch_close(&ring);
    }
    CHECK(!sigaction(SIGUSR1, &before, NULL));
}

static void stay(void *argument)
{
    (void)argument;
    child_hear();
}

static void a_watched_descriptor_follows_the_producers(void)
{
    struct scratch_ring ring;
    struct child holder, bystander;
    scratch_create(&ring, 4096);
    scratch_take_consumer(&ring);
    int fd = kr_consumer_wait_fd(ring.consumer);
    for (int round = 0; round < 4; round++) {
        child_start(&holder, hold_producer, &ring);
        CHECK_EQ(child_listen(&holder), 'p');
        CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 0);
        CHECK(!scratch_readable(fd)); /* the end of the earlier producer is not reported again */
        if (round & 1)
            park(&ring); /* a wait looks at the peer too */
        child_start(&bystander, stay, NULL); /* has copies of all descriptors */
        child_kill(&holder);
        sleep_on(fd);
        CHECK_EQ(consumer_wait(&ring), KR_WAIT_GONE);
        child_reap(&holder);
        if (round & 2)
            child_tell(&bystander, 'e'), child_end(&bystander);
        child_start(&holder, hold_producer, &ring);
        CHECK_EQ(child_listen(&holder), 'p');
        if (round & 1)
            park(&ring);
        CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 0);
        CHECK(!scratch_readable(fd));
        if (!(round & 2))
            child_tell(&bystander, 'e'), child_end(&bystander);
        child_kill(&holder);
        sleep_on(fd);
        child_reap(&holder);
    }
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(a_parked_consumer_is_woken),
    CASE(a_parked_producer_is_woken),
    CASE(death_wakes_a_parked_peer),
    CASE(a_new_peer_wakes_who_waits_for_one),
    CASE(what_is_seen_again_wakes_a_waiter),
    CASE(a_signal_interrupts_a_wait),
    CASE(a_watched_descriptor_follows_the_producers),
};
CHECK_MAIN(cases)
