/* The overflow: order, moving it with kr_pump(), watermarks, fragments, and no memory. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "encode_frame.h"
#include "scratch_inbox.h"
#include "send_joined.h"

static void what_does_not_fit_overflows_in_order(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    uint64_t sent = 0;
    int code;
    scratch_open_sender(&ring, 4096);
    while ((code = scratch_send(&ring, sent, 100)) == KR_SEND_RING)
        sent++;
    CHECK_EQ(code, KR_SEND_OVERFLOW);
    CHECK_EQ(sent, 4096 / 128);
    sent++;
    for (int i = 0; i < 999; i++)
        CHECK_EQ(scratch_send(&ring, sent++, 100), KR_SEND_OVERFLOW);
    kr_overflow_info info = scratch_overflow(&ring);
    CHECK_EQ(info.events, 1000);
    CHECK_EQ(info.bytes, 128000);
    CHECK_EQ(info.peak_bytes, 128000);
    CHECK(info.oldest_ns > 0 && info.oldest_ns <= info.now_ns);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.producer_words[0], 1000);
    CHECK_EQ(stats.producer_words[1], 128000);
    CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_AGAIN);
    scratch_take_frames(&ring, 0, 31);
    CHECK_EQ(scratch_send(&ring, sent++, 0), KR_SEND_OVERFLOW); /* it would fit, but earlier events come first */
    CHECK_EQ(kr_chunk_reserve(ring.sender, 1), KR_RESERVE_FULL);
    uint64_t taken = 32;
    do {
        code = kr_pump(ring.sender, 0);
        while (scratch_drain(&ring, 7, UINT64_MAX) > 0) {
            for (uint32_t i = 0; i < ring.batch.count; i++)
                CHECK_EQ(scratch_offset(&ring, i), taken++);
            CHECK_EQ(scratch_release_all(&ring), 0);
        }
    } while (code == KR_PUMP_AGAIN);
    CHECK_EQ(code, KR_PUMP_DONE);
    CHECK_EQ(taken, sent);
    info = scratch_overflow(&ring);
    CHECK_EQ(info.events, 0);
    CHECK_EQ(info.bytes, 0);
    CHECK_EQ(info.oldest_ns, 0);
    CHECK_EQ(info.peak_bytes, 128024);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.events_in, sent);
    CHECK_EQ(stats.producer_words[0], 0);
    CHECK_EQ(scratch_send(&ring, sent, 100), KR_SEND_RING);
    scratch_close(&ring);
}

static void it_is_moved_again_after_it_was_empty(void)
{
    struct scratch_ring ring;
    scratch_open_sender(&ring, 4096);
    for (int round = 0; round < 3; round++) {
        CHECK_EQ(scratch_send(&ring, 0, 4000), KR_SEND_RING);
        CHECK_EQ(scratch_send(&ring, 1, 4000), KR_SEND_OVERFLOW);
        CHECK_EQ(scratch_send(&ring, 2, 4000), KR_SEND_OVERFLOW);
        for (uint64_t i = 0; i < 3; i++) {
            CHECK_EQ(kr_pump(ring.sender, 0), i == 2 ? KR_PUMP_DONE : KR_PUMP_AGAIN);
            scratch_take_frames(&ring, i, i);
        }
    }
    CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_DONE);
    scratch_close(&ring);
}

static void the_marks_are_told_once_per_crossing(void)
{
    struct scratch_ring ring;
    scratch_open_sender(&ring, 4096);
    int64_t watch = kr_overflow_marks(ring.sender, 300, 128);
    CHECK(watch > 0);
    while (scratch_send(&ring, 0, 100) == KR_SEND_RING)
        ;
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_NONE);
    CHECK_EQ(scratch_send(&ring, 0, 100), KR_SEND_OVERFLOW);
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_NONE);
    CHECK_EQ(scratch_send(&ring, 0, 100), KR_SEND_OVERFLOW);
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_HIGH);
    CHECK_EQ(scratch_send(&ring, 0, 100), KR_SEND_OVERFLOW);
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_NONE);
    CHECK_EQ(scratch_drain(&ring, 2, UINT64_MAX), 2);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_AGAIN);
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_NONE);
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_AGAIN);
    CHECK_EQ(scratch_send(&ring, 0, 100), KR_SEND_OVERFLOW);
    CHECK_EQ(scratch_send(&ring, 0, 100), KR_SEND_OVERFLOW);
    /* Both crossings come in order, even if the caller asks late. */
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_LOW);
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_HIGH);
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 1000000), KR_MARK_NONE);
    CHECK(kr_overflow_marks(ring.sender, 300, 128) > watch);
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_END);
    watch = kr_overflow_marks(ring.sender, 0, 0);
    CHECK_EQ(kr_overflow_next_mark(ring.sender, watch, 0), KR_MARK_END);
    while (scratch_drain(&ring, 1000, UINT64_MAX) > 0)
        CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_DONE);
    scratch_close(&ring);
}

/* One event of `length` bytes through a ring of 4096: pump and drain in turn, put the pieces together. */
static void pass_large(struct scratch_ring *ring, uint32_t kind, uint64_t offset, const char *payload, uint64_t length)
{
    char *whole = malloc(length + 1);
    uint64_t have = 0;
    uint32_t flags = 0;
    CHECK(whole);
    while (!(flags & KR_FLAG_LAST)) {
        int code = kr_pump(ring->sender, 0);
        CHECK(code == KR_PUMP_AGAIN || code == KR_PUMP_DONE);
        while (!(flags & KR_FLAG_LAST) && scratch_drain(ring, 100, UINT64_MAX) > 0) {
            CHECK_EQ(ring->batch.count, 1);
            CHECK_EQ(ring->batch.fragment, 1);
            flags = ring->batch.flags;
            CHECK_EQ(flags & KR_FLAG_FIRST, have ? 0 : KR_FLAG_FIRST);
            CHECK_EQ(scratch_kind(ring, 0), kind);
            CHECK_EQ(scratch_offset(ring, 0), offset);
            CHECK(have + scratch_length(ring, 0) <= length);
            memcpy(whole + have, scratch_payload(ring, 0), scratch_length(ring, 0));
            have += scratch_length(ring, 0);
            CHECK_EQ(scratch_release_all(ring), 0);
        }
    }
    CHECK_EQ(have, length);
    CHECK(!memcmp(whole, payload, length));
    free(whole);
}

static void an_event_larger_than_the_ring_arrives_in_fragments(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    uint64_t state = 5;
    for (size_t i = 0; i < sizeof scratch_bytes; i++)
        scratch_bytes[i] = (char)check_random(&state);
    scratch_open_sender(&ring, 4096);
    const uint64_t lengths[] = {4081, 4082, 5000, 4 * 1008, 5 * 1008, 5 * 1008 + 1, 6 * 1008 - 1, 100000, sizeof scratch_bytes};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        if (lengths[i] <= 4080)
            continue;
        CHECK_EQ(send_plain(ring.sender, 2, 0, scratch_bytes, lengths[i]), KR_SEND_OVERFLOW);
        CHECK_EQ(send_plain(ring.sender, 3, 5, "", 0), KR_SEND_OVERFLOW);
        pass_large(&ring, 2, 0, scratch_bytes, lengths[i]);
        CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_DONE);
        CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
        CHECK_EQ(scratch_kind(&ring, 0), 3);
        CHECK_EQ(scratch_release_all(&ring), 0);
    }
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.events_in, 2 * 8);
    char *frame = malloc(1 << 16);
    const uint32_t argument = 50000;
    CHECK_EQ(encode_frame(frame, 9, scratch_bytes, &argument, 1), 50024);
    CHECK_EQ(send_frame(ring.sender, 9, scratch_bytes, &argument, 1), KR_SEND_OVERFLOW);
    pass_large(&ring, 4, 9, frame + 16, 50008);
    free(frame);
    scratch_close(&ring);
}

static void blocks_of_every_size_keep_the_order(void)
{
    struct scratch_ring ring;
    uint64_t state = 11, sent = 0, taken = 0;
    scratch_open_sender(&ring, 1 << 20);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 150; i++)
            CHECK(scratch_send(&ring, sent++, (uint32_t)check_below(&state, i % 10 ? 3000 : 600000)) >= 0);
        CHECK(scratch_overflow(&ring).events > 0);
        int code;
        do {
            code = kr_pump(ring.sender, 0);
            while (scratch_drain(&ring, 50, UINT64_MAX) > 0) {
                for (uint32_t i = 0; i < ring.batch.count; i++)
                    CHECK_EQ(scratch_offset(&ring, i), taken++);
                CHECK_EQ(scratch_release_all(&ring), 0);
            }
        } while (code == KR_PUMP_AGAIN);
        CHECK_EQ(taken, sent);
    }
    scratch_close(&ring);
}

static void send_without_memory(void *argument)
{
    struct scratch_ring ring;
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    (void)argument;
    CHECK(file && fscanf(file, "%lu", &pages) == 1 && !fclose(file));
    scratch_open_sender(&ring, 4096);
    CHECK(!getrlimit(RLIMIT_AS, &limit));
    limit.rlim_cur = pages * kr_page_bytes() + (3 << 20);
    CHECK(!setrlimit(RLIMIT_AS, &limit));
    uint64_t sent = 0;
    int code;
    while ((code = scratch_send(&ring, sent, 1000)) >= 0)
        sent++;
    CHECK_EQ(code, KR_E_NOMEM);
    uint64_t accepted = 9;
    const uint8_t kinds[] = {4, 4};
    const uint64_t offsets[] = {sent, sent + 1};
    const uint32_t argcs[] = {1, 1}, lengths[] = {1000, 1000};
    CHECK(send_many(ring.sender, 2, kinds, offsets, argcs, scratch_bytes, lengths, 2, &accepted) >= 0);
    CHECK_EQ(accepted, 0);
    CHECK_EQ(scratch_overflow(&ring).events + 4, sent);
    scratch_remove_all();
}

static void scan_without_memory(void *argument)
{
    struct scratch_ring ring;
    struct rlimit limit, before;
    unsigned long pages = 0;
    kr_scan scan;
    const char *frame = "*2\r\n:0\r\n*1\r\n$4\r\nPING\r\n";
    kr_scanner *scanner = kr_scanner_new();
    (void)argument;
    scratch_open_sender(&ring, 4096);
    CHECK_EQ(kr_producer_write(ring.producer, scratch_bytes, 4080), 1); /* everything else overflows */
    char *many = malloc(1 << 20);
    uint64_t length = 0;
    for (uint64_t offset = 0; length < (1 << 20) - 64; offset++)
        length += (uint64_t)sprintf(many + length, "*2\r\n:%llu\r\n*1\r\n$4\r\nPING\r\n", (unsigned long long)offset);
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file && fscanf(file, "%lu", &pages) == 1 && !fclose(file));
    CHECK(!getrlimit(RLIMIT_AS, &before));
    limit = before;
    limit.rlim_cur = pages * kr_page_bytes() + (1 << 20);
    CHECK(!setrlimit(RLIMIT_AS, &limit));
    CHECK_EQ(kr_scan_kevy(ring.sender, scanner, many, length, 0, &scan), KR_E_NOMEM);
    CHECK_EQ(scratch_overflow(&ring).events, scan.frames); /* taken frames are counted, so that nothing is sent twice */
    CHECK(!setrlimit(RLIMIT_AS, &before));
    kr_scanner_reset(scanner);
    int code = kr_scan_kevy(ring.sender, scanner, frame, strlen(frame), 0, &scan);
    CHECK_EQ(code, KR_SEND_OVERFLOW);
    free(many);
    kr_scanner_free(scanner);
    scratch_remove_all();
}

static void without_memory_a_scan_counts_what_it_took(void)
{
    struct child child;
    child_start(&child, scan_without_memory, NULL);
    child_end(&child);
}

static void without_memory_a_send_says_so_and_loses_nothing(void)
{
    struct child child;
    child_start(&child, send_without_memory, NULL);
    child_end(&child);
}

static const struct check_case cases[] = {
    CASE(what_does_not_fit_overflows_in_order),
    CASE(it_is_moved_again_after_it_was_empty),
    CASE(the_marks_are_told_once_per_crossing),
    CASE(an_event_larger_than_the_ring_arrives_in_fragments),
    CASE(blocks_of_every_size_keep_the_order),
    CASE(without_memory_a_scan_counts_what_it_took),
    CASE(without_memory_a_send_says_so_and_loses_nothing),
};
CHECK_MAIN(cases)
