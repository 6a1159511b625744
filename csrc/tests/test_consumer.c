/* The consumer: every code that it returns, and every field that it checks. */
#include <string.h>

#include "check.h"
#include "scratch_ring.h"

static char bytes[1 << 16];

static void write_some(struct scratch_ring *ring, uint32_t records, uint32_t length)
{
    for (uint32_t i = 0; i < records; i++)
        CHECK_EQ(kr_producer_write(ring->producer, bytes, length), 1);
}

/* A record made by the test at the place of the producer's next one, published as `span` bytes. */
static char *forge(struct scratch_ring *ring, uint32_t length, uint32_t kind, uint32_t flags, uint64_t span)
{
    struct kr_header *header = ring->map->header;
    uint64_t tail = load_relaxed(&header->tail);
    char *at = ring->area + (tail & (ring->map->capacity - 1));
    memset(at, 0, span);
    kr_record_header(at, length, kind, flags, 77);
    store_release(&header->tail, tail + span);
    return at;
}

static void a_batch_is_described_by_its_columns(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 0);
    CHECK_EQ(kr_producer_write(ring.producer, "one", 3), 1);
    CHECK_EQ(kr_producer_write(ring.producer, "", 0), 1);
    CHECK_EQ(kr_producer_write(ring.producer, "threethree", 10), 1);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 3);
    CHECK_EQ(ring.batch.position, 0);
    CHECK_EQ(ring.batch.span, 24 + 16 + 32);
    CHECK_EQ(ring.batch.count, 3);
    CHECK_EQ(ring.batch.more, 0);
    CHECK_EQ(ring.batch.frames, 0);
    CHECK_EQ(ring.batch.fragment, 0);
    CHECK_EQ(scratch_length(&ring, 0), 3);
    CHECK_EQ(scratch_length(&ring, 1), 0);
    CHECK_EQ(scratch_length(&ring, 2), 10);
    CHECK(!memcmp(scratch_payload(&ring, 0), "one\0\0\0\0\0", 8));
    CHECK(!memcmp(scratch_payload(&ring, 2), "threethree\0\0\0\0\0\0", 16));
    CHECK_EQ(scratch_end_of(&ring, 2), 72);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 0);
    scratch_close(&ring);
}

static void a_drain_keeps_to_its_budget_but_takes_one_record(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    write_some(&ring, 10, 48);
    CHECK_EQ(scratch_drain(&ring, 3, UINT64_MAX), 3);
    CHECK_EQ(ring.batch.more, 1);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 10, 0), 1);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 10, 128), 2);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 10, 191), 2);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 0, UINT64_MAX), 0);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 2);
    CHECK_EQ(ring.batch.more, 0);
    scratch_close(&ring);
}

static void a_second_batch_waits_for_the_release_of_the_first(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    write_some(&ring, 3, 10);
    CHECK_EQ(scratch_drain(&ring, 2, UINT64_MAX), 2);
    CHECK_EQ(scratch_drain(&ring, 2, UINT64_MAX), KR_E_BUSY);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 2, UINT64_MAX), 1);
    scratch_close(&ring);
}

static void a_release_frees_what_it_names_and_no_more(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    scratch_open_at(&ring, 4096, (uint64_t)0 - 64);
    write_some(&ring, 4, 16);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 4);
    uint64_t first = ring.batch.position;
    CHECK_EQ(kr_consumer_release(ring.consumer, first - 32, 0, 0), KR_E_ARGUMENT);
    CHECK_EQ(kr_consumer_release(ring.consumer, first + 160, 5, 1), KR_E_ARGUMENT);
    CHECK_EQ(kr_consumer_release(ring.consumer, first + 33, 1, 1), KR_E_ARGUMENT);
    CHECK_EQ(kr_consumer_release(ring.consumer, first, 0, 0), 0);
    CHECK_EQ(kr_consumer_release(ring.consumer, first + 32, 1, 0), 0);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.head, first + 32);
    CHECK_EQ(kr_consumer_release(ring.consumer, first, 0, 0), KR_E_ARGUMENT);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), KR_E_BUSY);
    CHECK_EQ(kr_consumer_release(ring.consumer, first + 96, 2, 1), 0); /* the fourth is seen again */
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
    CHECK_EQ(ring.batch.position, first + 96);
    CHECK_EQ(scratch_release_all(&ring), 0);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.events_out, 4);
    CHECK_EQ(stats.bytes_out, 128);
    CHECK_EQ(stats.drains, 2);
    CHECK(stats.last_drain_ns > 0 && stats.last_drain_ns <= stats.now_ns);
    scratch_close(&ring);
}

static void check_fault(struct scratch_ring *ring, uint64_t at, int field)
{
    uint64_t position = 1;
    CHECK_EQ(scratch_drain(ring, 10, UINT64_MAX), KR_E_CORRUPT);
    CHECK_EQ(kr_consumer_fault(ring->consumer, &position), field);
    CHECK_EQ(position, at);
    CHECK_EQ(scratch_drain(ring, 10, UINT64_MAX), KR_E_CORRUPT);
    CHECK_EQ(kr_consumer_wait(ring->consumer, -1, 0), KR_E_CORRUPT);
    CHECK_EQ(kr_consumer_wait_fd(ring->consumer), KR_E_CORRUPT);
    scratch_close(ring);
}

static void a_tail_beyond_the_capacity_is_corrupt(void)
{
    const uint64_t bad[] = {4096 + 8, (uint64_t)0 - 8, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct scratch_ring ring;
        scratch_open_at(&ring, 4096, 64);
        store_release(&ring.map->header->tail, 64 + bad[i]);
        check_fault(&ring, 64, 1);
    }
}

static void a_length_beyond_what_is_published_is_corrupt(void)
{
    const uint32_t bad[] = {1, 9, 4080, UINT32_MAX - 16, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct scratch_ring ring;
        scratch_open_at(&ring, 4096, 4096 - 16);
        forge(&ring, bad[i], 0, 0, 16);
        check_fault(&ring, 4096 - 16, 2);
    }
}

static void a_tail_that_ends_inside_a_record_header_is_corrupt(void)
{
    for (uint64_t odd = 1; odd < 16; odd++) {
        struct scratch_ring ring;
        scratch_open_at(&ring, 4096, 4096 - 8);
        write_some(&ring, 1, 4096 - 16 - 16);
        CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
        CHECK_EQ(scratch_release_all(&ring), 0);
        store_release(&ring.map->header->tail, 8192 - 24 + odd);
        check_fault(&ring, 8192 - 24, 2);
    }
}

static void reserved_bytes_that_are_not_zero_are_corrupt(void)
{
    for (int byte = 6; byte < 8; byte++) {
        struct scratch_ring ring;
        scratch_open(&ring, 4096);
        forge(&ring, 0, 0, 0, 16)[byte] = 1;
        check_fault(&ring, 0, 3);
    }
}

static void an_unknown_kind_is_corrupt(void)
{
    for (uint32_t kind = 5; kind < 256; kind += 50) {
        struct scratch_ring ring;
        scratch_open(&ring, 4096);
        forge(&ring, 0, kind, 0, 16);
        check_fault(&ring, 0, 4);
    }
}

static void an_unknown_flag_is_corrupt(void)
{
    for (uint32_t flag = 8; flag < 256; flag *= 2) {
        struct scratch_ring ring;
        scratch_open(&ring, 4096);
        forge(&ring, 0, 0, flag, 16);
        check_fault(&ring, 0, 5);
    }
}

static void a_frame_with_a_wrong_number_of_arguments_is_corrupt(void)
{
    const uint32_t bad[][2] = {{0, 1}, {4, 0}, {7, 1}, {8, 0}, {8, 2}, {8, UINT32_MAX}, {40, 10}, {40, 0x40000001}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct scratch_ring ring;
        scratch_open(&ring, 4096);
        char *at = forge(&ring, bad[i][0], 4, 0, kr_record_span(bad[i][0]));
        memcpy(at + 16, &bad[i][1], 4);
        check_fault(&ring, 0, 6);
    }
}

static void a_frame_whose_arguments_do_not_end_with_it_is_corrupt(void)
{
    const uint32_t bad[] = {9, 11, 0, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct scratch_ring ring;
        uint32_t words[3] = {2, 3, bad[i]};
        scratch_open(&ring, 4096);
        memcpy(forge(&ring, 12 + 10, 4, 0, 40) + 16, words, sizeof words);
        check_fault(&ring, 0, 7);
    }
}

static void whole_records_before_a_fault_are_delivered(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    write_some(&ring, 2, 8);
    forge(&ring, 0, 9, 0, 16);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 2);
    CHECK_EQ(ring.batch.more, 1);
    CHECK_EQ(scratch_release_all(&ring), 0);
    check_fault(&ring, 48, 4);
}

static void a_fragment_comes_alone(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    write_some(&ring, 2, 8);
    forge(&ring, 5, 4, KR_FLAG_FRAGMENT | KR_FLAG_FIRST, 24);
    forge(&ring, 6, 4, KR_FLAG_FRAGMENT | KR_FLAG_LAST, 24);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 2);
    CHECK_EQ(ring.batch.fragment, 0);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
    CHECK_EQ(ring.batch.fragment, 1);
    CHECK_EQ(ring.batch.flags, KR_FLAG_FRAGMENT | KR_FLAG_FIRST);
    CHECK_EQ(scratch_kind(&ring, 0), 4);
    CHECK_EQ(scratch_argc(&ring, 0), 0);
    CHECK_EQ(scratch_offset(&ring, 0), 77);
    CHECK_EQ(ring.batch.more, 1);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
    CHECK_EQ(ring.batch.flags, KR_FLAG_FRAGMENT | KR_FLAG_LAST);
    scratch_close(&ring);
}

static void a_closed_consumer_says_so(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    write_some(&ring, 1, 1);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    kr_consumer_close(ring.consumer);
    kr_consumer_close(ring.consumer);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), KR_E_CLOSED);
    CHECK_EQ(scratch_release_all(&ring), KR_E_CLOSED);
    CHECK_EQ(kr_consumer_wait(ring.consumer, -1, 0), KR_E_CLOSED);
    CHECK_EQ(kr_consumer_wait_fd(ring.consumer), KR_E_CLOSED);
    CHECK_EQ(kr_consumer_set_word(ring.consumer, 0, 1), KR_E_CLOSED);
    scratch_close(&ring);
}

static void a_producer_that_closed_is_gone_when_all_is_drained(void)
{
    struct scratch_ring ring;
    kr_role_info info;
    scratch_open(&ring, 4096);
    CHECK_EQ(kr_consumer_peer(ring.consumer, &info), 0);
    CHECK_EQ(info.state, 1);
    write_some(&ring, 2, 8);
    kr_producer_close(ring.producer);
    CHECK_EQ(kr_consumer_peer(ring.consumer, &info), 0);
    CHECK_EQ(info.state, 3);
    CHECK_EQ(kr_consumer_wait(ring.consumer, -1, 0), KR_WAIT_READY);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_READY);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    CHECK_EQ(kr_consumer_wait(ring.consumer, -1, 1000000), KR_WAIT_GONE);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_GONE);
    CHECK_EQ(kr_consumer_peer(ring.consumer, &info), KR_E_PEER_CLOSED);
    CHECK_EQ(scratch_release_all(&ring), 0);
    scratch_close(&ring);
}

static void waiting_for_records_ends_when_there_are_some_or_no_time(void)
{
    struct scratch_ring ring;
    scratch_open(&ring, 4096);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_TIMEOUT);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 2000000, 0), KR_WAIT_TIMEOUT);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 2000000, 100000), KR_WAIT_TIMEOUT);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 100000, 2000000), KR_WAIT_TIMEOUT);
    write_some(&ring, 1, 8);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 0, 0), KR_WAIT_READY);
    CHECK_EQ(kr_consumer_wait(ring.consumer, -1, 100000), KR_WAIT_READY);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    CHECK_EQ(kr_consumer_wait(ring.consumer, 1000000, 0), KR_WAIT_TIMEOUT); /* a batch is open, with no record after it */
    scratch_close(&ring);
}

static void another_mapping_of_the_area_may_take_over(void)
{
    struct scratch_ring ring;
    kr_failure why = {0};
    scratch_open(&ring, 4096);
    CHECK_EQ(kr_producer_write(ring.producer, "kept", 4), 1);
    char *first = kr_area_map(ring.map, &why), *second = kr_area_map(ring.map, &why);
    kr_consumer_rebase(ring.consumer, first);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    CHECK_EQ(kr_area_freeze(first, ring.batch.index, ring.batch.span), 0);
    kr_consumer_rebase(ring.consumer, second);
    CHECK_EQ(scratch_release_all(&ring), 0);
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(kr_producer_write(ring.producer, "next", 4), 1);
        CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
        CHECK(!memcmp(second + ring.batch.index + 16, "next", 4));
        CHECK_EQ(scratch_release_all(&ring), 0);
    }
    CHECK(!memcmp(first + 16, "kept", 4));
    kr_area_free(first);
    scratch_close(&ring);
    kr_area_free(second);
}

static const struct check_case cases[] = {
    CASE(a_batch_is_described_by_its_columns),
    CASE(a_drain_keeps_to_its_budget_but_takes_one_record),
    CASE(a_second_batch_waits_for_the_release_of_the_first),
    CASE(a_release_frees_what_it_names_and_no_more),
    CASE(a_tail_beyond_the_capacity_is_corrupt),
    CASE(a_length_beyond_what_is_published_is_corrupt),
    CASE(a_tail_that_ends_inside_a_record_header_is_corrupt),
    CASE(reserved_bytes_that_are_not_zero_are_corrupt),
    CASE(an_unknown_kind_is_corrupt),
    CASE(an_unknown_flag_is_corrupt),
    CASE(a_frame_with_a_wrong_number_of_arguments_is_corrupt),
    CASE(a_frame_whose_arguments_do_not_end_with_it_is_corrupt),
    CASE(whole_records_before_a_fault_are_delivered),
    CASE(a_fragment_comes_alone),
    CASE(a_closed_consumer_says_so),
    CASE(a_producer_that_closed_is_gone_when_all_is_drained),
    CASE(waiting_for_records_ends_when_there_are_some_or_no_time),
    CASE(another_mapping_of_the_area_may_take_over),
};
CHECK_MAIN(cases)
