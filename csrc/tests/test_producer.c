/* The producer: every code that it returns. */
#include <string.h>

#include "check.h"
#include "scratch_ring.h"

static char bytes[1 << 16];

static int64_t write_lengths(struct scratch_ring *ring, const uint32_t *lengths, uint64_t count)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < count; i++)
        total += lengths[i];
    return kr_producer_write_many(ring->producer, bytes, total, lengths, count);
}

static void a_record_is_written_until_the_ring_is_full(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    scratch_open(&ring, 4096);
    for (int i = 0; i < 4096 / 64; i++)
        CHECK_EQ(kr_producer_write(ring.producer, bytes, 48), 1);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 0), 0);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.tail - stats.head, 4096);
    CHECK_EQ(stats.events_in, 64);
    CHECK_EQ(stats.bytes_in, 4096);
    CHECK_EQ(stats.publishes, 64);
    CHECK_EQ(stats.full_hits, 1);
    scratch_close(&ring);
}

static void a_record_as_large_as_the_ring_fits_and_a_larger_one_never_does(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 4081), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, KR_LENGTH_MAX + 1ull), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, UINT64_MAX), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 4080), 1);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 4081), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 0), 0);
    CHECK_EQ(kr_producer_reserve(ring.producer, 4081), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_reserve(ring.producer, UINT64_MAX), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_wait(ring.producer, 4081, 0), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_wait(ring.producer, UINT64_MAX - 20, 0), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_wait_fd(ring.producer, 4081), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_wait_fd(ring.producer, UINT64_MAX - 20), KR_E_TOO_LARGE);
    scratch_close(&ring);
}

static void many_are_written_as_far_as_they_fit_with_one_publish(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    const uint32_t lengths[] = {1000, 0, 1, 1000, 2040, 5};
    scratch_open(&ring, 4096);
    CHECK_EQ(write_lengths(&ring, lengths, 6), 4);
    CHECK_EQ(write_lengths(&ring, lengths + 4, 2), 0);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.publishes, 1);
    CHECK_EQ(stats.events_in, 4);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 4);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(scratch_length(&ring, (uint64_t)i), lengths[i]);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(write_lengths(&ring, lengths + 4, 2), 2);
    CHECK_EQ(write_lengths(&ring, lengths, 0), 0);
    const uint32_t large[] = {5, 5000};
    CHECK_EQ(write_lengths(&ring, large, 2), 1); /* takes what fits; the next call returns the reason for the rest */
    CHECK_EQ(write_lengths(&ring, large + 1, 1), KR_E_TOO_LARGE);
    scratch_close(&ring);
}

static void lengths_that_do_not_add_up_are_refused(void)
{
    struct scratch_ring ring;
    const uint32_t lengths[] = {UINT32_MAX, 5, 6};
    scratch_open(&ring, 4096);
    CHECK_EQ(kr_producer_write_many(ring.producer, bytes, 12, lengths + 1, 2), KR_E_ARGUMENT);
    CHECK_EQ(kr_producer_write_many(ring.producer, bytes, 10, lengths, 3), KR_E_ARGUMENT);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 0);
    scratch_close(&ring);
}

static void a_reservation_is_invisible_until_it_is_published(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    scratch_open(&ring, 4096);
    int64_t index = kr_producer_reserve(ring.producer, 100);
    CHECK_EQ(index, KR_RECORD_BYTES);
    memset(ring.area + index, 'r', 100);
    CHECK_EQ(kr_producer_reserve(ring.producer, 1), KR_E_BUSY);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 1), KR_E_BUSY);
    CHECK_EQ(kr_producer_publish(ring.producer), 0);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 0);
    CHECK_EQ(kr_producer_commit(ring.producer, 101), KR_E_ARGUMENT);
    CHECK_EQ(kr_producer_commit(ring.producer, 50), 0);
    CHECK_EQ(kr_producer_commit(ring.producer, 50), KR_E_ARGUMENT);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 0);
    CHECK_EQ(kr_producer_reserve(ring.producer, 0), 72 + KR_RECORD_BYTES);
    CHECK_EQ(kr_producer_commit(ring.producer, 0), 0);
    CHECK_EQ(kr_producer_publish(ring.producer), 0);
    CHECK_EQ(kr_producer_publish(ring.producer), 0);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.publishes, 1);
    CHECK_EQ(stats.events_in, 2);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 2);
    CHECK_EQ(scratch_length(&ring, 0), 50);
    CHECK_EQ(scratch_payload(&ring, 0)[49], 'r');
    CHECK_EQ(scratch_payload(&ring, 0)[50], 0); /* padding */
    CHECK_EQ(scratch_length(&ring, 1), 0);
    scratch_close(&ring);
}

static void an_aborted_reservation_leaves_nothing(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    int64_t index = kr_producer_reserve(ring.producer, 4080);
    CHECK(index >= 0);
    CHECK_EQ(kr_producer_abort(ring.producer), 0);
    CHECK_EQ(kr_producer_abort(ring.producer), 0);
    CHECK_EQ(kr_producer_commit(ring.producer, 0), KR_E_ARGUMENT);
    CHECK_EQ(kr_producer_reserve(ring.producer, 4080), index);
    CHECK_EQ(kr_producer_abort(ring.producer), 0);
    CHECK_EQ(kr_producer_write(ring.producer, "ok", 2), 1);
    CHECK_EQ(kr_producer_reserve(ring.producer, 4080), KR_RESERVE_FULL);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
    CHECK(!memcmp(scratch_payload(&ring, 0), "ok", 2));
    scratch_close(&ring);
}

static void a_write_takes_the_committed_records_along(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    CHECK(kr_producer_reserve(ring.producer, 8) >= 0);
    CHECK_EQ(kr_producer_commit(ring.producer, 8), 0);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 9), 1);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 2);
    CHECK_EQ(scratch_length(&ring, 0), 8);
    CHECK_EQ(scratch_length(&ring, 1), 9);
    scratch_close(&ring);
}

static void a_closed_producer_says_so(void)
{
    struct scratch_ring ring;
    kr_role_info info;
    const uint32_t length = 1;
    scratch_open(&ring, 4096);
    CHECK(kr_producer_reserve(ring.producer, 8) >= 0);
    CHECK_EQ(kr_producer_commit(ring.producer, 8), 0);
    kr_producer_close(ring.producer);
    kr_producer_close(ring.producer);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 1), KR_E_CLOSED);
    CHECK_EQ(kr_producer_write_many(ring.producer, bytes, 1, &length, 1), KR_E_CLOSED);
    CHECK_EQ(kr_producer_reserve(ring.producer, 1), KR_E_CLOSED);
    CHECK_EQ(kr_producer_commit(ring.producer, 1), KR_E_CLOSED);
    CHECK_EQ(kr_producer_publish(ring.producer), KR_E_CLOSED);
    CHECK_EQ(kr_producer_wait(ring.producer, 1, -1), KR_E_CLOSED);
    CHECK_EQ(kr_producer_wait_fd(ring.producer, 1), KR_E_CLOSED);
    CHECK_EQ(kr_producer_set_word(ring.producer, 0, 1), KR_E_CLOSED);
    CHECK_EQ(kr_producer_peer(ring.producer, &info), KR_E_CLOSED);
    CHECK_EQ(kr_producer_abort(ring.producer), 0);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1); /* the close publishes committed records */
    scratch_close(&ring);
}

static void a_closed_consumer_is_seen_at_once_and_for_good(void)
{
    struct scratch_ring ring;
    kr_role_info info;
    scratch_open(&ring, 4096);
    CHECK_EQ(kr_producer_peer(ring.producer, &info), 0);
    CHECK_EQ(info.state, 1);
    CHECK(kr_producer_reserve(ring.producer, 8) >= 0);
    kr_consumer_close(ring.consumer);
    CHECK_EQ(kr_producer_commit(ring.producer, 8), KR_E_PEER_CLOSED);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 1), KR_E_PEER_CLOSED);
    CHECK_EQ(kr_producer_reserve(ring.producer, 1), KR_E_PEER_CLOSED);
    CHECK_EQ(kr_producer_publish(ring.producer), KR_E_PEER_CLOSED);
    CHECK_EQ(kr_producer_wait(ring.producer, 1, -1), KR_WAIT_GONE);
    CHECK_EQ(kr_producer_peer(ring.producer, &info), KR_E_PEER_CLOSED);
    CHECK_EQ(info.state, 3);
    CHECK(scratch_readable(kr_producer_wait_fd(ring.producer, 1)));
    kr_consumer_free(ring.consumer);
    scratch_take_consumer(&ring);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 1), KR_E_PEER_CLOSED);
    scratch_close(&ring);
}

static void a_consumer_that_never_came_is_not_gone(void)
{
    struct scratch_ring ring;
    kr_role_info info;
    scratch_create(&ring, 4096);
    scratch_take_producer(&ring);
    CHECK_EQ(kr_producer_peer(ring.producer, &info), 0);
    CHECK_EQ(info.state, 0);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 4080), 1);
    CHECK_EQ(kr_producer_wait(ring.producer, 1, 20000000), KR_WAIT_TIMEOUT);
    scratch_take_consumer(&ring);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    scratch_close(&ring);
}

static void waiting_for_space_ends_when_there_is_space_or_no_time(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    CHECK_EQ(kr_producer_wait(ring.producer, 4080, -1), KR_WAIT_READY);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 2032), 1);
    CHECK_EQ(kr_producer_write(ring.producer, bytes, 2032), 1);
    CHECK_EQ(kr_producer_wait(ring.producer, 0, 0), KR_WAIT_TIMEOUT);
    CHECK_EQ(kr_producer_wait(ring.producer, 0, 3000000), KR_WAIT_TIMEOUT);
    CHECK_EQ(kr_producer_wait(ring.producer, 4080, 1000000), KR_WAIT_TIMEOUT);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_bell_rung(ring.map->space_bell), 0); /* half of the requested room: no wake-up */
    CHECK_EQ(kr_producer_wait(ring.producer, 4080, 1000000), KR_WAIT_TIMEOUT);
    CHECK_EQ(kr_producer_wait(ring.producer, 2032, -1), KR_WAIT_READY);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_bell_rung(ring.map->space_bell), 1);
    CHECK_EQ(kr_producer_wait(ring.producer, 4080, -1), KR_WAIT_READY);
    scratch_close(&ring);
}

static void waiting_for_space_shows_the_committed_records_that_are_in_the_way(void)
{
    for (int watched = 0; watched < 2; watched++) {
        struct scratch_ring ring;
        scratch_open(&ring, 4096);
        CHECK(kr_producer_reserve(ring.producer, 3000) >= 0);
        CHECK_EQ(kr_producer_commit(ring.producer, 3000), 0);
        CHECK_EQ(kr_producer_wait(ring.producer, 1000, 0), KR_WAIT_READY);
        CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 0); /* it did not block */
        int fd = -1;
        if (watched)
            CHECK((fd = kr_producer_wait_fd(ring.producer, 2000)) >= 0);
        else
            CHECK_EQ(kr_producer_wait(ring.producer, 2000, 1000), KR_WAIT_TIMEOUT);
        CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1); /* else no side could make room */
        CHECK_EQ(scratch_release_all(&ring), 0);
        if (watched)
            CHECK(scratch_readable(fd));
        CHECK_EQ(kr_producer_wait(ring.producer, 2000, -1), KR_WAIT_READY);
        scratch_close(&ring);
    }
}

static void a_head_that_no_consumer_writes_is_corrupt(void)
{
    const int64_t bad[] = {64, 4096 + 64, -64, -4096, INT64_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        for (int waits = 0; waits < 2; waits++) {
            struct scratch_ring ring;
            scratch_open_at(&ring, 4096, 1 << 20);
            CHECK_EQ(kr_producer_write(ring.producer, bytes, 4080), 1);
            store_relaxed(&ring.map->header->head, ((uint64_t)1 << 20) + 4096 + (uint64_t)bad[i]);
            if (waits)
                kr_producer_wait(ring.producer, 4000, 0);
            int code = kr_producer_write(ring.producer, bytes, 4080);
            CHECK_EQ(code, bad[i] == -64 || bad[i] == -4096 ? 0 : KR_E_CORRUPT);
            scratch_close(&ring);
        }
}

static void a_head_that_goes_back_is_corrupt(void)
{
    for (int waits = 0; waits < 2; waits++) {
        struct scratch_ring ring;
        scratch_open_at(&ring, 4096, 1 << 20);
        for (int i = 0; i < 2; i++) { /* so that the producer has seen a head of 1 << 20 and 4096 */
            CHECK_EQ(kr_producer_write(ring.producer, bytes, 4080), 1);
            CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
            CHECK_EQ(scratch_release_all(&ring), 0);
        }
        CHECK_EQ(kr_producer_write(ring.producer, bytes, 1008), 1);
        CHECK(kr_producer_reserve(ring.producer, 3056) >= 0);
        CHECK_EQ(kr_producer_commit(ring.producer, 3056), 0);
        uint64_t tail = load_relaxed(&ring.map->header->tail);
        store_relaxed(&ring.map->header->head, tail - 4096); /* within the capacity, but before the last head */
        if (waits)
            CHECK_EQ(kr_producer_wait(ring.producer, 8, 0), KR_WAIT_READY); /* to see the error */
        CHECK_EQ(kr_producer_write(ring.producer, bytes, 8), KR_E_CORRUPT); /* and overwrites no unread record */
        scratch_close(&ring);
    }
}

static void words_are_published_for_the_layers_above(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    scratch_open(&ring, 4096);
    for (uint32_t i = 0; i < KR_WORDS; i++) {
        CHECK_EQ(kr_producer_set_word(ring.producer, i, i + 1), 0);
        CHECK_EQ(kr_consumer_set_word(ring.consumer, i, i + 100), 0);
    }
    CHECK_EQ(kr_producer_set_word(ring.producer, KR_WORDS, 1), KR_E_ARGUMENT);
    CHECK_EQ(kr_consumer_set_word(ring.consumer, KR_WORDS, 1), KR_E_ARGUMENT);
    kr_map_stats(ring.map, &stats);
    for (uint32_t i = 0; i < KR_WORDS; i++) {
        CHECK_EQ(stats.producer_words[i], i + 1);
        CHECK_EQ(stats.consumer_words[i], i + 100);
    }
    scratch_close(&ring);
}

static void a_stale_head_is_refreshed_when_room_is_short(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(kr_producer_write(ring.producer, bytes, 1000), 1);
        CHECK_EQ(kr_producer_write(ring.producer, bytes, 2000), 1);
        CHECK_EQ(kr_producer_write(ring.producer, bytes, 1048), 1);
        CHECK_EQ(kr_producer_write(ring.producer, bytes, 0), 0);
        CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 3);
        CHECK_EQ(scratch_release_all(&ring), 0);
        CHECK_EQ(kr_producer_reserve(ring.producer, 4080) >= 0, 1);
        CHECK_EQ(kr_producer_commit(ring.producer, 8), 0);
        CHECK_EQ(kr_producer_publish(ring.producer), 0);
        CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
        CHECK_EQ(scratch_release_all(&ring), 0);
    }
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(a_record_is_written_until_the_ring_is_full),
    CASE(a_record_as_large_as_the_ring_fits_and_a_larger_one_never_does),
    CASE(many_are_written_as_far_as_they_fit_with_one_publish),
    CASE(lengths_that_do_not_add_up_are_refused),
    CASE(a_reservation_is_invisible_until_it_is_published),
    CASE(an_aborted_reservation_leaves_nothing),
    CASE(a_write_takes_the_committed_records_along),
    CASE(a_closed_producer_says_so),
    CASE(a_closed_consumer_is_seen_at_once_and_for_good),
    CASE(a_consumer_that_never_came_is_not_gone),
    CASE(waiting_for_space_ends_when_there_is_space_or_no_time),
    CASE(waiting_for_space_shows_the_committed_records_that_are_in_the_way),
    CASE(a_head_that_no_consumer_writes_is_corrupt),
    CASE(a_head_that_goes_back_is_corrupt),
    CASE(words_are_published_for_the_layers_above),
    CASE(a_stale_head_is_refreshed_when_room_is_short),
};
CHECK_MAIN(cases)
