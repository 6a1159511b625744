/* A producer with a hostile consumer: between any two calls the input sets the consumer's positions and requests.
 * The producer must not touch the bytes that belong to the consumer by the last head that it could believe.
 *
 *   input   u16 index / 8, u8 place in 64 bits, then calls: u8 which one, and its arguments */
#include <string.h>

#include "hostile_ring.h"
#include "../tests/open_ring.h"
#include "../tests/send_joined.h"

#define CALLS_MAX 200
#define RECORD_MAX 9000 /* larger than the ring */

static char source[RECORD_MAX * 8];

static void send_pieces(struct hostile_ring *ring, struct input *input)
{
    kr_piece pieces[16];
    uint64_t offsets[4] = {1, 2, 3, UINT64_MAX}, accepted = 0, used = 0, frames = input_number(input, 1) % 4 + 1;
    uint32_t argcs[4];
    for (uint64_t i = 0; i < frames; i++) {
        argcs[i] = (uint32_t)input_number(input, 1) % 4 + 1;
        for (uint32_t a = 0; a < argcs[i]; a++)
            pieces[used++] = (kr_piece){source, input_number(input, 2) % RECORD_MAX};
    }
    kr_send_pieces(ring->sender, frames, NULL, offsets, argcs, pieces, &accepted);
    MUST(accepted <= frames);
}

static void write_many(struct hostile_ring *ring, struct input *input)
{
    uint32_t lengths[8];
    uint64_t total = 0, count = input_number(input, 1) % 8;
    for (uint64_t i = 0; i < count; i++)
        total += lengths[i] = (uint32_t)input_number(input, 2) % RECORD_MAX;
    MUST(kr_producer_write_many(ring->producer, source, total, lengths, count) <= (int64_t)count);
}

static void write_pieces(struct hostile_ring *ring, struct input *input)
{
    kr_piece pieces[8];
    uint64_t count = input_number(input, 1) % 8;
    for (uint64_t i = 0; i < count; i++)
        pieces[i] = (kr_piece){source, input_number(input, 2) % RECORD_MAX};
    MUST(kr_producer_write_pieces(ring->producer, pieces, count) <= (int64_t)count);
}

static void send_some(struct hostile_ring *ring, struct input *input)
{
    uint8_t kinds[4];
    uint64_t offsets[4] = {0, 1, 2, 3}, accepted = 0, used = 0, count = input_number(input, 1) % 5;
    uint32_t argcs[4], lengths[12];
    for (uint64_t i = 0; i < count; i++) {
        kinds[i] = 1 + (uint8_t)input_number(input, 1) % KR_KIND_LAST;
        argcs[i] = (uint32_t)input_number(input, 1) % 3 + 1;
        if (kinds[i] != KR_KIND_FRAME)
            argcs[i] = kinds[i] == KR_KIND_SNAPSHOT_CHUNK;
        for (uint32_t a = 0; a < argcs[i]; a++)
            lengths[used++] = (uint32_t)input_number(input, 2) % (RECORD_MAX / 2);
    }
    send_many(ring->sender, count, kinds, offsets, argcs, source, lengths, used, &accepted);
    MUST(accepted <= count);
}

static void reserve(struct hostile_ring *ring, struct input *input)
{
    uint64_t length = input_number(input, 2) % RECORD_MAX;
    int64_t index = kr_chunk_reserve(ring->sender, length);
    MUST(index < 0 || hostile_allowed(ring->area + index, length));
    if (index >= 0)
        memset(ring->area + index, 0x77, length);
}

/* The stores of a hostile consumer, in the header and in the bytes of the ring. */
static void other_side(struct hostile_ring *ring, struct input *input)
{
    struct kr_header *header = ring->map->header;
    hostile_allow(ring);
    switch (input_number(input, 1) % 8) {
    case 0: store_release(&header->head, input_number(input, 8)); break;
    case 1: store_release(&header->head, ring->producer->tail - input_number(input, 2)); break;
    case 2: store_release(&header->head, ring->producer->tail); break;
    case 3: store_release(&header->data_request, input_number(input, 2)); break;
    case 4: store_release(&header->space_request, input_number(input, 8)); break;
    case 5: store_release(&header->space_wanted, input_number(input, 8)); break;
    case 6: store_release(&header->tail, input_number(input, 8)); break;
    default: ring->area[input_number(input, 2) & (2 * ring->map->capacity - 1)] ^= (char)input_number(input, 1); break;
    }
}

/* Bytes before the head are free. A head that no consumer can have written does not count. */
static void forbid_what_is_the_consumers(struct hostile_ring *ring)
{
    const struct kr_producer *producer = ring->producer;
    uint64_t head = load_relaxed(&ring->map->header->head);
    if (producer->tail - head > producer->tail - producer->head_cache)
        head = producer->head_cache;
    hostile_allow(ring);
    hostile_forbid(ring, head, producer->tail - head);
}

static void call(struct hostile_ring *ring, struct input *input)
{
    struct kr_producer *producer = ring->producer;
    uint32_t length;
    switch (input_number(input, 1) % 18) {
    case 0: kr_producer_write(producer, source, input_number(input, 2) % RECORD_MAX); break;
    case 1: write_many(ring, input); break;
    case 2: write_pieces(ring, input); break;
    case 3: reserve(ring, input); break;
    case 4: kr_producer_commit(producer, input_number(input, 2)); break;
    case 5: kr_chunk_commit(ring->sender, input_number(input, 2)); break;
    case 6: kr_chunk_abort(ring->sender); break;
    case 7: kr_producer_publish(producer); break;
    case 8:
        length = (uint32_t)input_number(input, 2) % RECORD_MAX;
        send_frame(ring->sender, input_number(input, 2), source, &length, 1);
        break;
    case 9: send_plain(ring->sender, 1 + (uint32_t)input_number(input, 1) % 3, 1, source, input_number(input, 2) % RECORD_MAX); break;
    case 10: send_some(ring, input); break;
    case 11: send_pieces(ring, input); break;
    case 12: kr_pump(ring->sender, 0); break;
    case 13: kr_producer_wait(producer, input_number(input, 2), 0); break;
    default: other_side(ring, input); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint64_t places[4] = {0, 0x7ffffffffffff000, 0xfffffffffffff000, 0x100000000};
    struct input input = {bytes, bytes + size};
    struct hostile_ring *ring = hostile_ring();
    uint64_t index = input_number(&input, 2) * 8 & (ring->map->capacity - 1);
    hostile_reset(ring, places[input_number(&input, 1) % 4] + index);
    for (int i = 0; i < CALLS_MAX && input_left(&input); i++) {
        forbid_what_is_the_consumers(ring);
        call(ring, &input);
        MUST(ring->producer->staged - ring->producer->head_cache <= ring->map->capacity);
    }
    hostile_allow(ring);
    return 0;
}
