/* Positions and the wrap: every start, every size, and the ends of 31, 32, 63 and 64 bits. */
#include <string.h>

#include "check.h"
#include "scratch_inbox.h"
#include "send_joined.h"

static char pattern[8192];

static void pass_one(struct scratch_ring *ring, uint32_t length)
{
    CHECK_EQ(kr_producer_write(ring->producer, pattern + length % 251, length), 1);
    CHECK_EQ(scratch_drain(ring, 2, UINT64_MAX), 1);
    CHECK_EQ(scratch_length(ring, 0), length);
    CHECK(!memcmp(scratch_payload(ring, 0), pattern + length % 251, length));
    CHECK_EQ(scratch_release_all(ring), 0);
}

/* Returns to the same index: two records fill the rest of two rounds. */
static void go_round(struct scratch_ring *ring, uint64_t span)
{
    uint64_t left = 2 * 4096 - span, half = left / 2 & ~(uint64_t)7;
    pass_one(ring, (uint32_t)(half - KR_RECORD_BYTES));
    pass_one(ring, (uint32_t)(left - half - KR_RECORD_BYTES));
}

static void every_size_passes_at_every_start(void)
{
    uint64_t state = 3;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)check_random(&state);
    uint64_t step = check_rounds(8) < 8 ? 8 / check_rounds(8) : 1; /* shorter loops: fewer sizes, all over the starts together */
    for (uint64_t start = 0; start < 4096; start += 8) {
        struct scratch_ring ring;
        scratch_open_sender_at(&ring, 4096, start);
        for (uint32_t length = (uint32_t)(start / 8 % step); length <= 4096 - KR_RECORD_BYTES; length += (uint32_t)step) {
            pass_one(&ring, length);
            go_round(&ring, kr_record_span(length));
            CHECK_EQ(ring.batch.position + ring.batch.span - start, (ring.batch.position + ring.batch.span - start) & ~4095ull);
        }
        scratch_close(&ring);
        scratch_remove_all();
    }
}

static const uint64_t ends[] = {1ull << 31, 1ull << 32, 1ull << 63, 0};

static void a_full_ring_crosses_the_end_of_every_width(void)
{
    for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++)
        for (uint64_t before = 8; before <= 4096 + 64; before += 8) {
            struct scratch_ring ring;
            uint64_t sent = 0;
            scratch_open_sender_at(&ring, 4096, ends[e] - before);
            for (int round = 0; round < 3; round++) {
                uint64_t first = sent;
                while (kr_producer_write(ring.producer, (const char *)&sent, 8) == 1)
                    sent++;
                CHECK_EQ(sent - first, 4096 / 24);
                CHECK_EQ(kr_producer_wait(ring.producer, 8, 0), KR_WAIT_TIMEOUT);
                CHECK_EQ(scratch_drain(&ring, 1000, UINT64_MAX), sent - first);
                for (uint64_t i = 0; i < sent - first; i++) {
                    uint64_t number;
                    memcpy(&number, scratch_payload(&ring, i), 8);
                    CHECK_EQ(number, first + i);
                }
                CHECK_EQ(scratch_release_all(&ring), 0);
                CHECK_EQ(kr_producer_wait(ring.producer, 4080, 0), KR_WAIT_READY);
            }
            scratch_close(&ring);
            scratch_remove_all();
        }
}

static void an_overflow_crosses_the_end_of_every_width(void)
{
    for (size_t e = 0; e < sizeof ends / sizeof ends[0]; e++)
        for (uint64_t before = 64; before <= 4096; before += 448) {
            struct scratch_ring ring;
            uint64_t taken = 0;
            const uint32_t length = 100;
            int code;
            scratch_open_sender_at(&ring, 4096, ends[e] - before);
            for (uint64_t i = 0; i < 200; i++)
                CHECK(send_frame(ring.sender, i, pattern, &length, 1) >= 0);
            do {
                code = kr_pump(ring.sender, 0);
                while (scratch_drain(&ring, 9, UINT64_MAX) > 0) {
                    for (uint32_t i = 0; i < ring.batch.count; i++)
                        CHECK_EQ(scratch_offset(&ring, i), taken++);
                    CHECK_EQ(scratch_release_all(&ring), 0);
                }
            } while (code == KR_PUMP_AGAIN);
            CHECK_EQ(taken, 200);
            scratch_close(&ring);
            scratch_remove_all();
        }
}

static void a_successor_goes_on_behind_the_wrap(void)
{
    struct scratch_ring ring;
    scratch_open_sender_at(&ring, 4096, 0ull - 24);
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(kr_producer_write(ring.producer, "12345678", 8), 1);
        kr_sender_free(ring.sender);
        scratch_take_sender(&ring);
        CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
        CHECK_EQ(ring.batch.position, 24 * (uint64_t)i - 24);
        CHECK_EQ(scratch_release_all(&ring), 0);
        kr_consumer_free(ring.consumer);
        scratch_take_consumer(&ring);
        CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 0);
    }
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(every_size_passes_at_every_start),
    CASE(a_full_ring_crosses_the_end_of_every_width),
    CASE(an_overflow_crosses_the_end_of_every_width),
    CASE(a_successor_goes_on_behind_the_wrap),
};
CHECK_MAIN(cases)
