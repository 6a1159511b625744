/* The doorbell: when it rings, when it stays rung, and its cost. */
#include <string.h>

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

static uint64_t data_wakes(struct scratch_ring *ring)
{
    kr_stats stats;
    kr_map_stats(ring->map, &stats);
    return stats.data_wakes;
}

/* Waits without a limit, as the layers above do. */
static int consumer_wait(struct scratch_ring *ring)
{
    int found;
    while ((found = kr_consumer_wait(ring->consumer, -1, 0)) == KR_WAIT_INTERRUPTED)
        ;
    return found;
}

/* The state directly before a sleep, for any content of the FIFO. */
static void park(struct scratch_ring *ring) { CHECK_EQ(kr_consumer_wait(ring->consumer, 1000000, 0), KR_WAIT_TIMEOUT); }

static void nobody_asleep_costs_nothing(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    uint64_t before = data_wakes(&ring);
    park(&ring);
    write_some(&ring, 1);
    drain_some(&ring, 1);
    CHECK_EQ(data_wakes(&ring), before + 1);
    for (int i = 0; i < 100; i++) {
        write_some(&ring, 5);
        drain_some(&ring, 5);
    }
    CHECK_EQ(data_wakes(&ring), before + 1);
    scratch_close(&ring);
}

static void a_burst_rings_once_for_a_parked_consumer(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    for (int i = 0; i < 10; i++) {
        park(&ring);
        CHECK_EQ(scratch_bell_rung(ring.map->data_bell), 0);
        uint64_t before = data_wakes(&ring);
        write_some(&ring, 100);
        CHECK_EQ(scratch_bell_rung(ring.map->data_bell), 1);
        CHECK_EQ(data_wakes(&ring), before + 1);
        CHECK_EQ(consumer_wait(&ring), KR_WAIT_READY);
        drain_some(&ring, 100);
    }
    scratch_close(&ring);
}

static void a_watched_descriptor_is_readable_exactly_while_there_is_something(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    write_some(&ring, 1);
    int fd = kr_consumer_wait_fd(ring.consumer);
    CHECK(scratch_readable(fd)); /* for the records that came before the descriptor */
    drain_some(&ring, 1);
    CHECK_EQ(kr_consumer_wait_fd(ring.consumer), fd);
    for (int i = 0; i < 20; i++) {
        CHECK(!scratch_readable(fd));
        uint64_t before = data_wakes(&ring);
        write_some(&ring, 30);
        CHECK(scratch_readable(fd));
        CHECK_EQ(data_wakes(&ring), before + 1);
        drain_some(&ring, 10);
        CHECK(scratch_readable(fd)); /* stopped by its budget */
        drain_some(&ring, 10);
        CHECK(scratch_readable(fd));
        CHECK(scratch_bell_rung(ring.map->data_bell) <= 2);
        drain_some(&ring, 10);
        CHECK(!scratch_readable(fd));
    }
    scratch_close(&ring);
}

static void a_descriptor_and_a_wait_do_not_disturb_each_other(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    int fd = kr_consumer_wait_fd(ring.consumer);
    for (int i = 0; i < 20; i++) {
        park(&ring);
        CHECK(!scratch_readable(fd));
        write_some(&ring, 2);
        CHECK_EQ(consumer_wait(&ring), KR_WAIT_READY);
        CHECK(scratch_readable(fd));
        CHECK_EQ(consumer_wait(&ring), KR_WAIT_READY);
        drain_some(&ring, 1);
        CHECK(scratch_readable(fd));
        CHECK_EQ(consumer_wait(&ring), KR_WAIT_READY);
        CHECK(scratch_readable(fd));
        drain_some(&ring, 1);
        CHECK(!scratch_readable(fd));
    }
    kr_producer_close(ring.producer);
    CHECK_EQ(consumer_wait(&ring), KR_WAIT_GONE);
    CHECK(scratch_readable(fd));
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 0);
    CHECK(scratch_readable(fd));
    scratch_close(&ring);
}

static void a_producers_descriptor_is_readable_when_there_is_room(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    int fd = kr_producer_wait_fd(ring.producer, 4080);
    CHECK(scratch_readable(fd));
    write_some(&ring, 4096 / 24);
    CHECK_EQ(kr_producer_wait_fd(ring.producer, 1000), fd);
    CHECK(!scratch_readable(fd));
    drain_some(&ring, 10);
    CHECK(!scratch_readable(fd));
    drain_some(&ring, 40);
    CHECK(scratch_readable(fd));
    CHECK_EQ(kr_producer_wait_fd(ring.producer, 4080), fd);
    CHECK(!scratch_readable(fd));
    kr_consumer_close(ring.consumer);
    CHECK(scratch_readable(fd));
    scratch_close(&ring);
}

static void a_byte_that_nobody_asked_for_does_not_spin(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    park(&ring);
    kr_bell_ring(ring.map->data_bell);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 20000000, 0), KR_WAIT_TIMEOUT);
    CHECK_EQ(scratch_bell_rung(ring.map->data_bell), 0); /* else the wait would loop because of it */
    int fd = kr_consumer_wait_fd(ring.consumer);
    kr_bell_ring(ring.map->data_bell);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 0);
    CHECK(!scratch_readable(fd));
    write_some(&ring, 1);
    CHECK(scratch_readable(fd));
    drain_some(&ring, 1);
    write_some(&ring, 4096 / 24);
    kr_bell_ring(ring.map->space_bell);
    CHECK_EQ(kr_producer_wait(ring.producer, 1000, 20000000), KR_WAIT_TIMEOUT);
    CHECK_EQ(scratch_bell_rung(ring.map->space_bell), 0);
    scratch_close(&ring);
}

static void what_a_predecessor_left_in_the_doorbell_does_not_spin(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    park(&ring);
    kr_consumer_free(ring.consumer); /* rings, so that another thread that waits on the same handle looks */
    scratch_take_consumer(&ring);
    park(&ring);
    CHECK_EQ(scratch_bell_rung(ring.map->data_bell), 0);
    scratch_close(&ring);
}

static void a_successor_of_one_that_died_half_way_to_sleep_is_rung(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    park(&ring);
    write_some(&ring, 1);
    kr_bell_clear(ring.map->data_bell); /* its predecessor emptied the FIFO and then died */
    kr_consumer_free(ring.consumer);
    kr_bell_clear(ring.map->data_bell);
    scratch_take_consumer(&ring);
    CHECK(scratch_readable(kr_consumer_wait_fd(ring.consumer)));
    scratch_close(&ring);
}

static void a_byte_cleared_before_its_request_is_noted_is_not_a_lost_wake_up(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    struct kr_producer *producer = ring.producer;
    int fd = kr_consumer_wait_fd(ring.consumer);
    for (int i = 0; i < 2; i++) {
        CHECK(kr_producer_reserve(producer, 8) >= 0);
        CHECK_EQ(kr_producer_commit(producer, 8), 0);
    }
    /* kr_producer_publish_locked() step by step, with the consumer running between the steps. */
    producer->tail = producer->staged;
    store_seq_cst(&producer->header->tail, producer->tail);
    uint64_t request = load_seq_cst(&producer->header->data_request);
    CHECK(request != producer->data_reply);
    drain_some(&ring, 1);
    CHECK(scratch_readable(fd));
    kr_bell_ring(producer->data_bell);
    drain_some(&ring, 1);
    producer->data_reply = request;
    store_release(&producer->header->data_reply, request);
    write_some(&ring, 1);
    CHECK(scratch_readable(fd));
    scratch_close(&ring);
}

static void records_seen_again_ring_the_descriptor(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    int fd = kr_consumer_wait_fd(ring.consumer);
    write_some(&ring, 3);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 3);
    CHECK(!scratch_readable(fd));
    CHECK_EQ(kr_consumer_release(ring.consumer, ring.batch.position + 24, 1, 1), 0);
    CHECK(scratch_readable(fd));
    drain_some(&ring, 2);
    CHECK(!scratch_readable(fd));
    scratch_close(&ring);
}

static void a_producer_that_closed_writes_no_word_any_more(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    park(&ring);
    uint64_t reply = load_relaxed(&ring.map->header->data_reply), wakes = data_wakes(&ring);
    kr_producer_close(ring.producer); /* the words may belong to its successor now */
    CHECK_EQ(load_relaxed(&ring.map->header->data_reply), reply);
    CHECK_EQ(data_wakes(&ring), wakes);
    CHECK_EQ(scratch_bell_rung(ring.map->data_bell), 1);
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(nobody_asleep_costs_nothing),
    CASE(a_burst_rings_once_for_a_parked_consumer),
    CASE(a_watched_descriptor_is_readable_exactly_while_there_is_something),
    CASE(a_descriptor_and_a_wait_do_not_disturb_each_other),
    CASE(a_producers_descriptor_is_readable_when_there_is_room),
    CASE(a_byte_that_nobody_asked_for_does_not_spin),
    CASE(what_a_predecessor_left_in_the_doorbell_does_not_spin),
    CASE(a_successor_of_one_that_died_half_way_to_sleep_is_rung),
    CASE(a_byte_cleared_before_its_request_is_noted_is_not_a_lost_wake_up),
    CASE(records_seen_again_ring_the_descriptor),
    CASE(a_producer_that_closed_writes_no_word_any_more),
};
CHECK_MAIN(cases)
