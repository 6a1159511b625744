/* Drains, arguments and RESP of hostile records, which also change while the consumer reads them.
 *
 *   input   u16 index / 8, u8 place in 64 bits, u16 span, u8 rows, u16 bytes at most,
 *           4 * {u8 moment, u16 place, u8 value}, the bytes of the ring from the head on
 */
#include <stdlib.h>
#include <string.h>

#include "hostile_ring.h"
#include "inbox/decode.h"

#define CHANGES 4
#define DRAINS_MAX 16
#define BEHIND_TAIL KR_RECORD_BYTES /* a drain may read a header, and a frame's number of arguments, beyond a wrong tail */

enum { BEFORE_ARGUMENTS = 0, BEFORE_RESP = 1, BETWEEN_SIZE_AND_RESP = 2, BEFORE_NEXT_DRAIN = 3, MOVE_TAIL = 4, MOMENTS = 5 };

struct change {
    unsigned moment, where;
    uint8_t value;
};

struct hostile_drain {
    struct hostile_ring *ring;
    struct change changes[CHANGES];
    uint64_t rows, max_bytes;
    char *columns;
    kr_batch batch;
};

static void change(struct hostile_drain *drain, unsigned moment)
{
    struct hostile_ring *ring = drain->ring;
    uint64_t mask = ring->map->capacity - 1;
    for (unsigned i = 0; i < CHANGES; i++)
        if (drain->changes[i].moment == moment)
            *(volatile char *)(ring->area + ((ring->consumer->head + drain->changes[i].where) & mask)) ^= (char)drain->changes[i].value;
}

/* Moves the other side's position, mostly forward, as no honest side does. */
static void move_tail(struct hostile_drain *drain)
{
    kr_word *tail = &drain->ring->map->header->tail;
    for (unsigned i = 0; i < CHANGES; i++)
        if (drain->changes[i].moment == MOVE_TAIL)
            store_release(tail, load_relaxed(tail) + drain->changes[i].where - drain->changes[i].value);
}

/* Lets the other side make its changes. They may touch all of the ring. */
static void apply(struct hostile_drain *drain, unsigned moment)
{
    hostile_allow(drain->ring);
    if (moment == MOVE_TAIL)
        move_tail(drain);
    else
        change(drain, moment);
}

static void forbid_what_is_not_published(struct hostile_drain *drain)
{
    struct hostile_ring *ring = drain->ring;
    uint64_t span = load_relaxed(&ring->map->header->tail) - ring->consumer->head;
    hostile_forbid_all_but(ring, ring->consumer->head, span > ring->map->capacity ? 0 : span + BEHIND_TAIL);
}

/* The promises of a batch, for any bytes in the ring. */
static void check_columns(const struct hostile_drain *drain, const struct kr_columns *columns, uint64_t count)
{
    const kr_batch *batch = &drain->batch;
    uint64_t at = 0, frames = 0;
    MUST(count <= drain->rows && batch->count == count && batch->span <= drain->ring->map->capacity);
    MUST(batch->index == (batch->position & (drain->ring->map->capacity - 1)));
    MUST(count == 1 || (!batch->fragment && batch->span <= drain->max_bytes));
    for (uint64_t i = 0; i < count; i++) {
        MUST(columns->starts[i] == at + KR_RECORD_BYTES);
        at += kr_record_span(columns->lengths[i]);
        MUST(at <= batch->span && columns->kinds[i] <= 4);
        MUST(columns->argcs[i] == 0 || 4 + 4 * (uint64_t)columns->argcs[i] <= columns->lengths[i]);
        MUST(columns->kinds[i] != 4 || batch->fragment || columns->argcs[i] > 0);
        frames += columns->kinds[i] == 4;
    }
    MUST(at == batch->span && frames == batch->frames);
}

/* Every byte that the columns name may be read. */
static void check_payloads(const struct hostile_drain *drain, const struct kr_columns *columns, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        MUST(hostile_allowed(drain->ring->area + drain->batch.index + columns->starts[i], columns->lengths[i]));
}

/* An argument is inside the payload, for any end positions. */
static void take_arguments(struct hostile_drain *drain, const struct kr_columns *columns, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const char *payload = drain->ring->area + drain->batch.index + columns->starts[i], *argument;
        struct kr_frame_reader frame;
        uint32_t length;
        if (!columns->argcs[i] || !kr_frame_read(&frame, payload, columns->lengths[i], columns->argcs[i]))
            continue;
        for (uint32_t a = 0; a < columns->argcs[i] && kr_frame_next(&frame, &argument, &length); a++)
            MUST(argument > payload && argument + length <= payload + columns->lengths[i]);
    }
}

static void take_resp(struct hostile_drain *drain, uint64_t count)
{
    const char *batch = drain->ring->area + drain->batch.index;
    int64_t size = kr_batch_resp(batch, drain->columns, drain->rows, count, NULL, 0);
    MUST(size >= 0 || -1 - size < (int64_t)count);
    if (size < 0)
        return;
    char *wire = malloc(size ? (size_t)size : 1);
    apply(drain, BETWEEN_SIZE_AND_RESP);
    forbid_what_is_not_published(drain);
    int64_t written = kr_batch_resp(batch, drain->columns, drain->rows, count, wire, (uint64_t)size);
    MUST(written <= size && (written >= 0 || -1 - written < (int64_t)count));
    free(wire);
}

static void take_batch(struct hostile_drain *drain, uint64_t count)
{
    struct kr_columns columns = kr_split_columns(drain->columns, drain->rows);
    check_columns(drain, &columns, count);
    check_payloads(drain, &columns, count);
    apply(drain, BEFORE_ARGUMENTS);
    forbid_what_is_not_published(drain);
    take_arguments(drain, &columns, count);
    apply(drain, BEFORE_RESP);
    forbid_what_is_not_published(drain);
    take_resp(drain, count);
}

static void drain_all(struct hostile_drain *drain)
{
    struct kr_consumer *consumer = drain->ring->consumer;
    for (int round = 0; round < DRAINS_MAX; round++) {
        uint64_t position;
        forbid_what_is_not_published(drain);
        int64_t count = kr_consumer_drain(consumer, drain->rows, drain->max_bytes, drain->columns, &drain->batch);
        if (count < 0) {
            MUST(count == KR_E_CORRUPT && kr_consumer_fault(consumer, &position) > 0);
            MUST(kr_consumer_drain(consumer, drain->rows, drain->max_bytes, drain->columns, &drain->batch) == KR_E_CORRUPT);
            return;
        }
        if (!count)
            return;
        take_batch(drain, (uint64_t)count);
        MUST(!kr_consumer_release(consumer, drain->batch.position + drain->batch.span, (uint64_t)count, 1));
        apply(drain, BEFORE_NEXT_DRAIN);
        apply(drain, MOVE_TAIL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint64_t places[4] = {0, 0x7ffffffffffff000, 0xfffffffffffff000, 0x100000000};
    struct input input = {bytes, bytes + size};
    struct hostile_drain drain = {.ring = hostile_ring()};
    uint64_t capacity = drain.ring->map->capacity;
    uint64_t index = input_number(&input, 2) * 8 & (capacity - 1);
    uint64_t head = places[input_number(&input, 1) % 4] + index;
    uint64_t span = input_number(&input, 2);
    drain.rows = input_number(&input, 1) + 1;
    drain.max_bytes = input_number(&input, 2);
    drain.max_bytes = drain.max_bytes ? drain.max_bytes : UINT64_MAX;
    for (unsigned i = 0; i < CHANGES; i++) {
        drain.changes[i].moment = (unsigned)input_number(&input, 1) % (2 * MOMENTS); /* half of them never happen */
        drain.changes[i].where = (unsigned)input_number(&input, 2);
        drain.changes[i].value = (uint8_t)input_number(&input, 1);
    }
    hostile_reset(drain.ring, head);
    memcpy(drain.ring->area + index, input.at, input_left(&input) < capacity ? input_left(&input) : capacity);
    store_release(&drain.ring->map->header->tail, head + span);
    drain.columns = malloc(25 * drain.rows);
    drain_all(&drain);
    hostile_allow(drain.ring);
    free(drain.columns);
    return 0;
}
