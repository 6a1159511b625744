/* Parks and wakes in a loop. Each side aims at the other's last moment before its sleep.
 *
 * The two sides take turns, so that no move wakes the other side by accident. Every sleep ends by itself after a
 * second. So a lost wake-up shows as a sleeper that wakes without news, has work, and has no byte in its FIFO. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "check.h"
#include "scratch_inbox.h"
#include "send_joined.h"

struct duel {
    struct scratch_ring ring;
    uint64_t rounds;
    int watched; /* sleep on the descriptor instead of in the wait */
};

/* Waits from zero to some microseconds, so that some move meets every moment of the other side. */
static void dawdle(uint64_t *seed)
{
    static const uint64_t limits[] = {50, 200, 600, 1500, 4000};
    for (volatile uint64_t i = check_below(seed, limits[check_below(seed, 5)]); i; i--)
        ;
}

/* Yields the core after a while. An immediate yield takes longer than the moment that the test aims at. */
static void pause_after(unsigned *spins)
{
    if (++*spins > 2000)
        sched_yield();
}

static uint64_t head_of(struct scratch_ring *ring) { return load_acquire(&ring->map->header->head); }
static uint64_t tail_of(struct scratch_ring *ring) { return load_acquire(&ring->map->header->tail); }
static int is_empty(struct scratch_ring *ring) { return tail_of(ring) == head_of(ring); }

/* A sleeper woke without news. The other side gets time to ring. Work without a byte is then a lost wake-up. */
static void check_not_lost(struct scratch_ring *ring, int bell, int (*has_work)(struct scratch_ring *))
{
    for (int i = 0; i < 300; i++) {
        if (!has_work(ring) || scratch_bell_rung(bell))
            return;
        check_sleep_ms(1);
    }
    check_failed(__FILE__, __LINE__, "no wake-up was lost");
}

static int sleep_on(int descriptor)
{
    struct pollfd watched = {.fd = descriptor, .events = POLLIN};
    return poll(&watched, 1, 1000) == 1 ? KR_WAIT_READY : KR_WAIT_INTERRUPTED;
}

static void await_records(struct duel *duel)
{
    struct scratch_ring *ring = &duel->ring;
    int found;
    while ((found = duel->watched ? sleep_on(kr_consumer_wait_fd(ring->consumer)) : kr_consumer_wait(ring->consumer, -1, 0)) ==
           KR_WAIT_INTERRUPTED)
        check_not_lost(ring, ring->map->data_bell, scratch_has_records);
    CHECK_EQ(found, KR_WAIT_READY);
}

static void await_space(struct duel *duel, uint64_t length)
{
    struct scratch_ring *ring = &duel->ring;
    int found;
    while ((found = duel->watched ? sleep_on(kr_producer_wait_fd(ring->producer, length))
                                  : kr_producer_wait(ring->producer, length, -1)) == KR_WAIT_INTERRUPTED)
        check_not_lost(ring, ring->map->space_bell, is_empty);
    CHECK_EQ(found, KR_WAIT_READY);
}

/* Writes up to three records, and the next ones when all of these are given back. */
static void *write_in_step(void *argument)
{
    struct duel *duel = argument;
    uint64_t seed = 1;
    for (uint64_t round = 0; round < duel->rounds; round++) {
        dawdle(&seed);
        for (uint64_t i = 0; i <= round % 3; i++)
            CHECK_EQ(kr_producer_write(duel->ring.producer, "12345678", 8), 1);
        for (unsigned spins = 0; !is_empty(&duel->ring);)
            pause_after(&spins);
    }
    return NULL;
}

static void read_in_step(struct duel *duel, uint64_t records)
{
    struct scratch_ring *ring = &duel->ring;
    uint64_t seed = 2;
    if (duel->watched) /* from here on only the descriptor says when to look: no call in between repairs it */
        CHECK(kr_consumer_wait_fd(ring->consumer) >= 0);
    int fd = ring->consumer->peer.wait_fd;
    while (records) {
        if (duel->watched) {
            while (sleep_on(fd) == KR_WAIT_INTERRUPTED)
                check_not_lost(ring, ring->map->data_bell, scratch_has_records);
        } else {
            await_records(duel);
        }
        int64_t got = scratch_drain(ring, check_below(&seed, 3) + 1, UINT64_MAX);
        CHECK(got >= 0);
        if (!got)
            continue;
        uint64_t keep = check_below(&seed, 8) ? (uint64_t)got : check_below(&seed, (uint64_t)got + 1);
        uint64_t upto = keep ? scratch_end_of(ring, keep - 1) : ring->batch.position;
        CHECK_EQ(kr_consumer_release(ring->consumer, upto, keep, 1), 0);
        records -= keep;
        if (check_below(&seed, 2))
            dawdle(&seed);
    }
}

static uint64_t records_in(uint64_t rounds)
{
    uint64_t records = 0;
    for (uint64_t round = 0; round < rounds; round++)
        records += round % 3 + 1;
    return records;
}

static void duel_over_records(int watched)
{
    struct duel duel = {.rounds = check_rounds(20000), .watched = watched};
    pthread_t thread;
    scratch_open_sender(&duel.ring, 4096);
    CHECK(!pthread_create(&thread, NULL, write_in_step, &duel));
    read_in_step(&duel, records_in(duel.rounds));
    CHECK(!pthread_join(thread, NULL));
    scratch_close(&duel.ring);
}

static void no_wait_for_records_loses_a_wake_up(void) { duel_over_records(0); }
static void no_descriptor_for_records_loses_a_wake_up(void) { duel_over_records(1); }

static void write_from_a_child(void *argument)
{
    struct duel *ours = argument, duel = {.rounds = ours->rounds};
    scratch_attach(&duel.ring, ours->ring.name);
    scratch_take_sender(&duel.ring);
    write_in_step(&duel);
}

static void no_wait_for_another_process_loses_a_wake_up(void)
{
    struct duel duel = {.rounds = check_rounds(10000)};
    struct child child;
    scratch_create(&duel.ring, 4096);
    child_start(&child, write_from_a_child, &duel);
    scratch_take_consumer(&duel.ring);
    read_in_step(&duel, records_in(duel.rounds));
    child_end(&child);
    scratch_close(&duel.ring);
}

/* Gives all of the ring back in two steps when the producer asks for space, or is about to because there is none. */
static void *release_in_step(void *argument)
{
    struct scratch_ring *ring = argument;
    uint64_t seed = 3, asked = 0;
    unsigned spins = 0;
    while (kr_peer_gone(&ring->consumer->peer) == 0) {
        uint64_t request = load_acquire(&ring->map->header->space_request);
        if (request == asked && tail_of(ring) - head_of(ring) + 24 <= 4096) {
            pause_after(&spins);
            continue;
        }
        asked = request;
        spins = 0;
        dawdle(&seed);
        int64_t got = scratch_drain(ring, SCRATCH_ROWS, UINT64_MAX);
        CHECK(got >= 0);
        if (!got)
            continue;
        uint64_t part = check_below(&seed, (uint64_t)got);
        CHECK_EQ(kr_consumer_release(ring->consumer, scratch_end_of(ring, part), part + 1, 0), 0);
        dawdle(&seed);
        CHECK_EQ(kr_consumer_release(ring->consumer, scratch_end_of(ring, (uint64_t)got - 1), (uint64_t)got - part - 1, 1), 0);
    }
    return NULL;
}

static void duel_over_space(int watched)
{
    struct duel duel = {.rounds = check_rounds(10000), .watched = watched};
    pthread_t thread;
    uint64_t seed = 4;
    scratch_open_sender(&duel.ring, 4096);
    CHECK(!pthread_create(&thread, NULL, release_in_step, &duel.ring));
    for (uint64_t round = 0; round < duel.rounds; round++) {
        while (kr_producer_write(duel.ring.producer, "12345678", 8) == 1)
            ;
        if (round & 1)
            dawdle(&seed);
        await_space(&duel, check_below(&seed, 4081));
    }
    kr_producer_close(duel.ring.producer);
    CHECK(!pthread_join(thread, NULL));
    scratch_close(&duel.ring);
}

static void no_wait_for_space_loses_a_wake_up(void) { duel_over_space(0); }
static void no_descriptor_for_space_loses_a_wake_up(void) { duel_over_space(1); }

static void *pump(void *argument)
{
    struct scratch_ring *ring = argument;
    int code;
    while ((code = kr_pump(ring->sender, -1)) == KR_PUMP_AGAIN)
        check_not_lost(ring, ring->map->space_bell, is_empty);
    CHECK_EQ(code, KR_PUMP_DONE);
    return NULL;
}

/* Every burst overflows. The next one comes when the last event of the burst has arrived. */
static void no_pump_loses_a_wake_up(void)
{
    struct duel duel = {.watched = 0};
    struct scratch_ring *ring = &duel.ring;
    uint64_t seed = 5, taken = 0, sent = 0;
    scratch_open_sender(ring, 4096);
    for (uint64_t round = check_rounds(1000); round; round--) {
        pthread_t thread;
        int started = 0;
        for (uint64_t i = 100 + check_below(&seed, 300); i; i--) {
            int code = send_plain(ring->sender, 3, sent++, "", 0);
            CHECK(code >= 0);
            if (code == KR_SEND_OVERFLOW && !started++)
                CHECK(!pthread_create(&thread, NULL, pump, ring));
        }
        while (taken < sent) {
            await_records(&duel);
            int64_t got = scratch_drain(ring, 1 + check_below(&seed, 200), UINT64_MAX);
            for (int64_t i = 0; i < got; i++)
                CHECK_EQ(scratch_offset(ring, (uint64_t)i), taken++);
            dawdle(&seed);
            if (got)
                CHECK_EQ(scratch_release_all(ring), 0);
        }
        if (started)
            CHECK(!pthread_join(thread, NULL));
    }
    scratch_close(ring);
}

static const struct check_case cases[] = {
    CASE(no_wait_for_records_loses_a_wake_up),
    CASE(no_descriptor_for_records_loses_a_wake_up),
    CASE(no_wait_for_another_process_loses_a_wake_up),
    CASE(no_wait_for_space_loses_a_wake_up),
    CASE(no_descriptor_for_space_loses_a_wake_up),
    CASE(no_pump_loses_a_wake_up),
};
CHECK_MAIN(cases)
