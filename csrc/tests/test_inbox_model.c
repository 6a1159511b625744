/* Random operations on a small inbox, compared with a plain array. */
#include <stdlib.h>
#include <string.h>

#include "array_model.h"
#include "scratch_inbox.h"
#include "send_joined.h"

/* The inbox: an event of any size comes out once, whole and in order. */
static char *whole;
static uint64_t have;

static void take_event(const struct array *array, uint64_t number, uint8_t kind, uint64_t offset, const char *payload, uint64_t length)
{
    uint64_t header = kind == 4 ? 8 : 0;
    CHECK_EQ(kind, number % 2 ? KR_KIND_FRAME : KR_KIND_SNAPSHOT_CHUNK);
    CHECK_EQ(offset, number % 2 ? number : 0);
    CHECK_EQ(length - header, array->lengths[number % KEPT]);
    verify(payload + header, number, (uint32_t)(length - header));
}

static void take_events(struct scratch_ring *ring, struct array *array)
{
    uint64_t records = below(10) + 1;
    int64_t got = scratch_drain(ring, records, below(2) ? below(5000) : UINT64_MAX);
    CHECK(got >= 0);
    if (!got)
        return;
    uint64_t upto = ring->batch.position + ring->batch.span, keep = (uint64_t)got;
    if (ring->batch.fragment) {
        CHECK_EQ(got, 1);
        if (ring->batch.flags & KR_FLAG_FIRST)
            have = 0;
        memcpy(whole + have, scratch_payload(ring, 0), scratch_length(ring, 0));
        have += scratch_length(ring, 0);
        if (ring->batch.flags & KR_FLAG_LAST)
            take_event(array, array->given++, scratch_kind(ring, 0), scratch_offset(ring, 0), whole, have);
    } else {
        if (below(4) == 0) { /* an exception at record `keep`: that one and the rest come again */
            keep = below((uint64_t)got);
            upto = keep ? scratch_end_of(ring, keep - 1) : ring->batch.position;
        }
        for (uint64_t i = 0; i < keep; i++) {
            take_event(array, array->given++, scratch_kind(ring, i), scratch_offset(ring, i), scratch_payload(ring, i),
                       scratch_length(ring, i));
        }
    }
    CHECK_EQ(kr_consumer_release(ring->consumer, upto, keep, 1), 0);
}

static void send_event(struct scratch_ring *ring, struct array *array)
{
    uint32_t length = below(30) ? some_length() : (uint32_t)below(sizeof bytes);
    int64_t index;
    int code;
    if (array->made - array->given >= KEPT / 2)
        return;
    fill(bytes, array->made, length);
    if (array->made % 2)
        code = send_frame(ring->sender, array->made, bytes, &length, 1);
    else if (below(2) || (index = kr_chunk_reserve(ring->sender, length + below(8))) < 0)
        code = send_plain(ring->sender, 2, 0, bytes, length);
    else {
        memcpy(ring->area + index, bytes, length);
        code = kr_chunk_commit(ring->sender, length);
    }
    CHECK(code >= 0);
    make(array, length);
}

static void an_inbox_does_what_an_array_does(void)
{
    whole = malloc(sizeof bytes + 64);
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct scratch_ring ring;
        struct array array = {.made = 0};
        kr_overflow_info overflow;
        seed = 77 + i;
        have = 0;
        scratch_open_sender_at(&ring, CAPACITY, starts[i]);
        for (uint64_t steps = check_rounds(4000); steps; steps--) {
            uint64_t what = below(5);
            if (what < 2)
                send_event(&ring, &array);
            else if (what < 4)
                take_events(&ring, &array);
            else
                CHECK(kr_pump(ring.sender, 0) >= 0);
        }
        while (array.given < array.made) {
            CHECK(kr_pump(ring.sender, 0) >= 0);
            take_events(&ring, &array);
        }
        CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_DONE);
        kr_overflow_read(ring.sender, &overflow);
        CHECK_EQ(overflow.events, 0);
        CHECK_EQ(overflow.bytes, 0);
        CHECK(overflow.peak_bytes > 0);
        scratch_close(&ring);
    }
    free(whole);
}

static const struct check_case cases[] = {
    CASE(an_inbox_does_what_an_array_does),
};
CHECK_MAIN(cases)
