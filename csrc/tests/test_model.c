/* Random operations on a small ring, compared with a plain array. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array_model.h"
#include "scratch_ring.h"

static uint64_t room(const struct array *array) { return CAPACITY - span_of(array, array->given, array->made); }

static void write_records(struct scratch_ring *ring, struct array *array)
{
    uint32_t lengths[8];
    uint64_t count = below(4) ? 1 : below(9), total = 0, fit = 0, left = room(array);
    for (uint64_t i = 0; i < count; i++) {
        lengths[i] = some_length();
        fill(bytes + total, array->made + i, lengths[i]);
        total += lengths[i];
    }
    int64_t wrote = count == 1 && below(2)
                        ? kr_producer_write(ring->producer, bytes, lengths[0])
                        : kr_producer_write_many(ring->producer, bytes, total, lengths, count);
    if (array->reserved) {
        CHECK_EQ(wrote, KR_E_BUSY);
        return;
    }
    for (; fit < count && kr_record_span(lengths[fit]) <= left; fit++) {
        left -= kr_record_span(lengths[fit]);
        make(array, lengths[fit]);
    }
    array->shown = array->made;
    CHECK_EQ(wrote, !fit && count && kr_record_span(lengths[0]) > CAPACITY ? KR_E_TOO_LARGE : (int64_t)fit);
}

static void reserve(struct scratch_ring *ring, struct array *array)
{
    uint32_t length = some_length();
    int64_t index = kr_producer_reserve(ring->producer, length);
    if (array->reserved)
        CHECK_EQ(index, KR_E_BUSY);
    else if (kr_record_span(length) > CAPACITY)
        CHECK_EQ(index, KR_E_TOO_LARGE);
    else if (kr_record_span(length) > room(array))
        CHECK_EQ(index, KR_RESERVE_FULL);
    else {
        CHECK(index >= 0 && index < (int64_t)CAPACITY);
        array->reserved = length + 1u;
        memset(ring->area + index, 0xee, length);
        fill(ring->area + index, array->made, length);
    }
}

static void end_reservation(struct scratch_ring *ring, struct array *array)
{
    uint32_t length = (uint32_t)below(array->reserved ? array->reserved : 10);
    if (below(4) == 0) {
        CHECK_EQ(kr_producer_abort(ring->producer), 0);
    } else if (!array->reserved) {
        CHECK_EQ(kr_producer_commit(ring->producer, length), KR_E_ARGUMENT);
    } else {
        CHECK_EQ(kr_producer_commit(ring->producer, array->reserved), KR_E_ARGUMENT);
        CHECK_EQ(kr_producer_commit(ring->producer, length), 0);
        make(array, length);
    }
    array->reserved = 0;
}

/* The number of records that a drain takes by its contract. */
static uint64_t expected_batch(const struct array *array, uint64_t records, uint64_t limit)
{
    uint64_t count = 0, span = 0;
    for (uint64_t i = array->drained; i < array->shown && count < records; i++) {
        span += kr_record_span(array->lengths[i % KEPT]);
        if (count && span > limit)
            break;
        count++;
    }
    return count;
}

static void drain(struct scratch_ring *ring, struct array *array)
{
    uint64_t records = below(3) ? below(20) : SCRATCH_ROWS, limit = below(3) ? below(6000) : UINT64_MAX;
    if (array->drained != array->given) {
        CHECK_EQ(scratch_drain(ring, records, limit), KR_E_BUSY);
        return;
    }
    uint64_t count = expected_batch(array, records, limit);
    CHECK_EQ(scratch_drain(ring, records, limit), count);
    array->drained += count;
    if (!count)
        return;
    CHECK_EQ(ring->batch.span, span_of(array, array->given, array->drained));
    CHECK_EQ(ring->batch.more, array->drained != array->shown);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = array->given + i;
        CHECK_EQ(scratch_length(ring, i), array->lengths[number % KEPT]);
        CHECK_EQ(scratch_kind(ring, i), 0);
        verify(scratch_payload(ring, i), number, scratch_length(ring, i));
    }
}

static void release(struct scratch_ring *ring, struct array *array)
{
    if (array->drained == array->given)
        return;
    kr_stats stats;
    kr_map_stats(ring->map, &stats);
    uint64_t upto = array->given + below(array->drained - array->given + 1);
    int done = upto == array->drained || below(3) == 0;
    uint64_t position = stats.head + span_of(array, array->given, upto);
    CHECK_EQ(kr_consumer_release(ring->consumer, position, upto - array->given, done), 0);
    array->given = upto;
    if (done)
        array->drained = upto; /* the rest is seen again */
}

static void compare(struct scratch_ring *ring, const struct array *array)
{
    kr_stats stats;
    kr_map_stats(ring->map, &stats);
    CHECK_EQ(stats.tail - stats.head, span_of(array, array->given, array->shown));
    CHECK_EQ(stats.events_in, array->shown);
    CHECK_EQ(stats.events_out, array->given);
    int found = kr_consumer_wait(ring->consumer, 0, 0);
    CHECK_EQ(found, array->drained != array->shown ? KR_WAIT_READY : KR_WAIT_TIMEOUT);
}

static void step(struct scratch_ring *ring, struct array *array)
{
    switch (below(9)) {
    case 0:
    case 1: write_records(ring, array); break;
    case 2: reserve(ring, array); break;
    case 3: end_reservation(ring, array); break;
    case 4:
        CHECK_EQ(kr_producer_publish(ring->producer), 0);
        array->shown = array->made;
        break;
    case 5:
    case 6: drain(ring, array); break;
    default: release(ring, array); break;
    }
    compare(ring, array);
}

static void run_model(uint64_t start, int watched)
{
    struct scratch_ring ring;
    struct array array = {.made = 0};
    scratch_open_at(&ring, CAPACITY, start);
    int fd = watched ? kr_consumer_wait_fd(ring.consumer) : -1;
    for (uint64_t i = check_rounds(4000); i; i--) {
        step(&ring, &array);
        if (watched && array.drained != array.shown)
            CHECK(scratch_readable(fd));
        if (watched && array.drained == array.given && array.drained == array.shown) {
            CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 0);
            CHECK(!scratch_readable(fd));
        }
    }
    scratch_close(&ring);
}

static void a_ring_does_what_an_array_does(void)
{
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        for (int watched = 0; watched < 2; watched++) {
            seed = 1000 + i * 2 + (uint64_t)watched;
            run_model(starts[i], watched);
        }
}

static const struct check_case cases[] = {
    CASE(a_ring_does_what_an_array_does),
};
CHECK_MAIN(cases)
