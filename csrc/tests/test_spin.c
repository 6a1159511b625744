/* The spin of a wait before it sleeps: none where it is in vain, always where it pays. */
#include <pthread.h>

#include "check.h"
#include "scratch_ring.h"

#define BOUND_NS 100000        /* seven halvings and nothing is left of it */
#define IN_VAIN 7              /* spins until then */
#define AGES_NS 20000000000LL  /* longer than any case may last */
#define NO_WINDOW 40           /* halvings that leave nothing of any bound here */

static uint64_t spins(struct scratch_ring *ring) { return load_relaxed(&ring->consumer->spins); }
static uint64_t halvings(struct scratch_ring *ring) { return load_relaxed(&ring->consumer->spin_halvings); }

static uint64_t data_wakes(struct scratch_ring *ring)
{
    kr_stats stats;
    kr_map_stats(ring->map, &stats);
    return stats.data_wakes;
}

static void await_record(struct scratch_ring *ring, int64_t bound_ns)
{
    int found;
    while ((found = kr_consumer_wait(ring->consumer, -1, bound_ns)) == KR_WAIT_INTERRUPTED)
        ;
    CHECK_EQ(found, KR_WAIT_READY);
}

struct later {
    struct scratch_ring *ring;
    uint64_t spins; /* before the wait */
};

/* The record comes some milliseconds after the waiter's spin or sleep has begun, however late it gets its core. */
static void *write_later(void *argument)
{
    struct later *later = argument;
    while (spins(later->ring) == later->spins && !load_relaxed32(&later->ring->consumer->sleepers))
        check_sleep_ms(1);
    check_sleep_ms(5);
    CHECK_EQ(scratch_write(later->ring, 1), 1);
    return NULL;
}

static void await_one(struct scratch_ring *ring, int64_t bound_ns)
{
    pthread_t thread;
    struct later later = {ring, spins(ring)};
    CHECK(!pthread_create(&thread, NULL, write_later, &later));
    await_record(ring, bound_ns);
    CHECK(!pthread_join(thread, NULL));
    CHECK_EQ(scratch_take(ring), 1);
}

static void waits_in_vain_soon_spin_no_more(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    for (int i = 0; i < 30; i++) {
        CHECK_EQ(kr_consumer_wait(ring.consumer, 2 * BOUND_NS, BOUND_NS), KR_WAIT_TIMEOUT);
        CHECK_EQ(spins(&ring), i < IN_VAIN ? i + 1 : IN_VAIN);
    }
    scratch_close(&ring);
}

static void waits_shorter_than_the_window_spin_no_more_either(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    for (int i = 0; i < 30; i++)
        CHECK_EQ(kr_consumer_wait(ring.consumer, 1000, BOUND_NS), KR_WAIT_TIMEOUT);
    CHECK_EQ(spins(&ring), IN_VAIN);
    scratch_close(&ring);
}

static void no_bound_no_spin(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 1000, 0), KR_WAIT_TIMEOUT);
    await_one(&ring, 0);
    CHECK_EQ(spins(&ring), 0);
    CHECK_EQ(halvings(&ring), 0);
    scratch_close(&ring);
}

struct trickle {
    struct scratch_ring ring;
    int events;
};

/* One record at a time, each some milliseconds after its reader fell asleep. */
static void *write_rarely(void *argument)
{
    struct trickle *trickle = argument;
    struct kr_header *header = trickle->ring.map->header;
    for (int i = 0; i < trickle->events; i++) {
        while (load_acquire(&header->head) != load_acquire(&header->tail))
            check_sleep_ms(1);
        while (!load_relaxed32(&trickle->ring.consumer->sleepers))
            check_sleep_ms(1);
        check_sleep_ms(4);
        CHECK_EQ(scratch_write(&trickle->ring, 1), 1);
    }
    return NULL;
}

static void an_event_every_few_milliseconds_costs_no_spinning(void)
{
    struct trickle trickle = {.events = 60};
    pthread_t thread;
    scratch_open(&trickle.ring, 4096);
    CHECK(!pthread_create(&thread, NULL, write_rarely, &trickle));
    for (int i = 0; i < trickle.events; i++) {
        await_record(&trickle.ring, BOUND_NS);
        CHECK_EQ(scratch_take(&trickle.ring), 1);
    }
    CHECK(!pthread_join(thread, NULL));
    CHECK(spins(&trickle.ring) >= IN_VAIN);
    CHECK(spins(&trickle.ring) <= 4 * IN_VAIN); /* allows for a sleep that was interrupted directly before a record came */
    scratch_close(&trickle.ring);
}

static void a_spin_that_finds_something_makes_the_window_whole(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(kr_consumer_wait(ring.consumer, 1000, AGES_NS), KR_WAIT_TIMEOUT);
    CHECK_EQ(halvings(&ring), 2);
    uint64_t bytes = (uint64_t)scratch_bell_rung(ring.map->data_bell), before = spins(&ring);
    CHECK_EQ(bytes, 0);
    await_one(&ring, AGES_NS);
    CHECK_EQ(spins(&ring), before + 1);
    CHECK_EQ(halvings(&ring), 0);
    scratch_close(&ring);
}

static void a_short_sleep_makes_the_window_whole(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    store_relaxed(&ring.consumer->spin_halvings, NO_WINDOW);
    await_one(&ring, AGES_NS);
    CHECK_EQ(spins(&ring), 0);
    CHECK_EQ(halvings(&ring), 0);
    scratch_close(&ring);
}

static void a_long_sleep_does_not(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    store_relaxed(&ring.consumer->spin_halvings, NO_WINDOW);
    await_one(&ring, BOUND_NS);
    CHECK_EQ(spins(&ring), 0);
    CHECK_EQ(halvings(&ring), NO_WINDOW);
    scratch_close(&ring);
}

static void a_sleep_that_ends_without_news_does_not(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    store_relaxed(&ring.consumer->spin_halvings, NO_WINDOW);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 1000000, AGES_NS), KR_WAIT_TIMEOUT);
    CHECK_EQ(halvings(&ring), NO_WINDOW);
    scratch_close(&ring);
}

static void a_sleeper_that_was_woken_asks_for_no_second_ring(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    for (int i = 0; i < 5; i++) {
        uint64_t before = data_wakes(&ring);
        await_one(&ring, 0);
        CHECK_EQ(data_wakes(&ring), before + 1);
        for (int more = 0; more < 10; more++) { /* it is awake, so these ring no bell */
            CHECK_EQ(scratch_write(&ring, 1), 1);
            CHECK_EQ(kr_consumer_wait(ring.consumer, -1, 0), KR_WAIT_READY);
            CHECK_EQ(scratch_take(&ring), 1);
        }
        CHECK_EQ(data_wakes(&ring), before + 1);
        CHECK_EQ(kr_consumer_wait(ring.consumer, 1000000, 0), KR_WAIT_TIMEOUT); /* and the byte does not end a second sleep */
        CHECK_EQ(scratch_bell_rung(ring.map->data_bell), 0);
    }
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(waits_in_vain_soon_spin_no_more),
    CASE(waits_shorter_than_the_window_spin_no_more_either),
    CASE(no_bound_no_spin),
    CASE(an_event_every_few_milliseconds_costs_no_spinning),
    CASE(a_spin_that_finds_something_makes_the_window_whole),
    CASE(a_short_sleep_makes_the_window_whole),
    CASE(a_long_sleep_does_not),
    CASE(a_sleep_that_ends_without_news_does_not),
    CASE(a_sleeper_that_was_woken_asks_for_no_second_ring),
};
CHECK_MAIN(cases)
