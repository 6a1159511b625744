/* The time of records in the ring: one in 1,024 is stamped, and counted when it is given back. docs/memory-model.md has
 * its memory orders (I14, I15). */
#include "check.h"
#include "scratch_ring.h"

static uint64_t counted(struct scratch_ring *ring, uint64_t from_bucket)
{
    kr_times times;
    uint64_t sum = 0;
    kr_map_times(ring->map, &times);
    for (uint64_t i = from_bucket; i <= KR_TIME_BOUNDS; i++)
        sum += times.counts[i];
    return sum;
}

static uint64_t oldest(struct scratch_ring *ring)
{
    kr_times times;
    kr_map_times(ring->map, &times);
    return times.oldest_ns;
}

static void take_all(struct scratch_ring *ring)
{
    while (scratch_drain(ring, SCRATCH_ROWS, UINT64_MAX))
        CHECK_EQ(scratch_release_all(ring), 0);
}

static void one_record_in_so_many_is_counted(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    for (uint64_t i = 0; i < 5 * KR_STAMP_EVERY; i++) {
        CHECK_EQ(scratch_write(&ring, 1), 1);
        CHECK_EQ(scratch_take(&ring), 1);
        CHECK_EQ(counted(&ring, 0), i / KR_STAMP_EVERY + 1);
    }
    scratch_close(&ring);
}

static void it_counts_from_the_publish_to_the_release(void)
{
    struct scratch_ring ring;
    kr_times times;
    scratch_open(&ring, 4096);
    uint64_t before = kr_now_ns();
    CHECK_EQ(scratch_write(&ring, 2), 2);
    CHECK(oldest(&ring) >= before && oldest(&ring) <= kr_now_ns());
    check_sleep_ms(15);
    CHECK_EQ(scratch_drain(&ring, 2, UINT64_MAX), 2);
    check_sleep_ms(15);
    CHECK_EQ(kr_consumer_release(ring.consumer, scratch_end_of(&ring, 0), 1, 0), 0);
    CHECK_EQ(counted(&ring, 0), 0); /* the last record of the publish has the stamp */
    CHECK_EQ(scratch_release_all(&ring), 0);
    kr_map_times(ring.map, &times);
    CHECK(times.total_ns >= 30000000 && times.total_ns <= times.now_ns - before);
    CHECK_EQ(times.oldest_ns, 0);
    CHECK_EQ(counted(&ring, 0), 1);
    uint64_t bucket = 0;
    while (!times.counts[bucket])
        bucket++;
    CHECK(bucket == KR_TIME_BOUNDS || times.total_ns <= kr_time_bounds_ns[bucket]);
    CHECK(times.total_ns > kr_time_bounds_ns[bucket - 1]);
    scratch_close(&ring);
}

static void a_ring_of_more_stamps_than_slots_leaves_some_out(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4u << 20);
    for (int round = 0; round < 3; round++) {
        uint64_t first = 0;
        for (uint64_t i = 0; i < (4u << 20) / 24; i++) {
            CHECK_EQ(scratch_write(&ring, 1), 1);
            first = first ? first : oldest(&ring);
        }
        CHECK_EQ(load_relaxed(&ring.map->header->stamps), (uint64_t)(round + 1) * KR_STAMPS);
        CHECK_EQ(oldest(&ring), first);
        take_all(&ring);
        CHECK_EQ(counted(&ring, 0), (uint64_t)(round + 1) * KR_STAMPS);
    }
    scratch_close(&ring);
}

static void successors_go_on(void)
{
    struct scratch_ring ring;
    scratch_open_at(&ring, 1u << 20, UINT64_MAX - 1023);
    for (uint64_t i = 0; i < 3 * KR_STAMP_EVERY; i++)
        CHECK_EQ(scratch_write(&ring, 1), 1);
    for (uint64_t i = 0; i <= KR_STAMP_EVERY; i++)
        CHECK_EQ(scratch_take(&ring), 1);
    CHECK_EQ(counted(&ring, 0), 2);
    kr_consumer_free(ring.consumer);
    kr_producer_free(ring.producer);
    scratch_take_producer(&ring);
    scratch_take_consumer(&ring);
    CHECK_EQ(scratch_write(&ring, 1), 1); /* the first one of a new producer has a stamp */
    take_all(&ring);
    CHECK_EQ(counted(&ring, 0), 4);
    scratch_close(&ring);
}

/* The traces of a producer that dies in a publish: its whole stamp, or only the position. */
static void a_stamp_of_what_was_not_published_is_forgotten(void)
{
    for (int is_whole = 0; is_whole <= 1; is_whole++) {
        struct scratch_ring ring;
        kr_times times;
        scratch_open(&ring, 1u << 20);
        struct kr_header *header = ring.map->header;
        uint64_t waiting = 0;
        for (uint64_t i = 0; i < KR_STAMPS * KR_STAMP_EVERY; i++) {
            CHECK_EQ(scratch_write(&ring, 1), 1);
            if (i % 2000 < 1990)
                CHECK_EQ(scratch_take(&ring), 1);
        }
        while (scratch_drain(&ring, 1, UINT64_MAX) && ++waiting)
            CHECK_EQ(scratch_release_all(&ring), 0);
        CHECK(waiting > 100);
        CHECK_EQ(counted(&ring, 0), KR_STAMPS);
        kr_producer_free(ring.producer);
        uint64_t made = load_relaxed(&header->stamps);
        struct kr_stamp *stamp = &header->stamp[made % KR_STAMPS];
        store_relaxed(&stamp->position, load_relaxed(&header->tail) + 24);
        if (is_whole) {
            store_relaxed(&stamp->published_ns, kr_now_ns() - 60000000000);
            store_relaxed(&header->stamps, made + 1);
        }
        uint64_t before = kr_now_ns();
        scratch_take_producer(&ring);
        CHECK_EQ(oldest(&ring), 0);
        CHECK_EQ(scratch_write(&ring, 1), 1); /* ends at the noted position */
        CHECK(oldest(&ring) >= before);
        take_all(&ring);
        kr_map_times(ring.map, &times);
        CHECK_EQ(counted(&ring, 0), KR_STAMPS + 1);
        CHECK(times.total_ns < 60000000000);
        scratch_close(&ring);
    }
}

static void stamps_of_a_liar_are_claims(void)
{
    static const uint64_t lies[] = {0, 1, 65, 1ull << 63, UINT64_MAX};
    for (size_t s = 0; s < sizeof lies / sizeof *lies; s++)
        for (size_t p = 0; p < sizeof lies / sizeof *lies; p++)
            for (size_t t = 0; t < sizeof lies / sizeof *lies; t++) {
                struct scratch_ring ring;
                scratch_open(&ring, 4096);
                struct kr_header *header = ring.map->header;
                for (int i = 0; i < 100; i++)
                    CHECK_EQ(scratch_write(&ring, 1), 1);
                for (size_t i = 0; i < KR_STAMPS; i++) {
                    store_relaxed(&header->stamp[i].position, lies[p] * 8);
                    store_relaxed(&header->stamp[i].published_ns, lies[t]);
                }
                store_relaxed(&header->stamps, lies[s]);
                for (int i = 0; i < 100; i++)
                    CHECK_EQ(scratch_take(&ring), 1);
                CHECK(counted(&ring, 0) <= KR_STAMPS);
                kr_producer_free(ring.producer);
                scratch_take_producer(&ring); /* its first record gets a stamp */
                CHECK_EQ(scratch_write(&ring, 1), 1);
                CHECK_EQ(scratch_take(&ring), 1);
                scratch_close(&ring);
                scratch_remove_all();
            }
}

static const struct check_case cases[] = {
    CASE(one_record_in_so_many_is_counted),
    CASE(it_counts_from_the_publish_to_the_release),
    CASE(a_ring_of_more_stamps_than_slots_leaves_some_out),
    CASE(successors_go_on),
    CASE(a_stamp_of_what_was_not_published_is_forgotten),
    CASE(stamps_of_a_liar_are_claims),
};
CHECK_MAIN(cases)
