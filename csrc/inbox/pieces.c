/* Records from pieces that lie apart, as the objects of an interpreter do: written where they will be read, without
 * being joined first. One lock, one publish, for a call of any number of records. */
#include <string.h>

#include "ring/ring.h"
#include "ring/short_copy.h"

#define KIND_FRAME 4u
#define AHEAD_BYTES 1024u  /* of free lines that are asked for before they are written */
#define EXPECTED_MAX 4096u /* the copy of a larger record looks ahead by itself */

/* Writes records of kind 0 in order until one does not fit. Returns how many fitted. */
int64_t kr_producer_write_pieces(kr_producer *producer, const kr_piece *pieces, uint64_t count)
{
    int refused = kr_producer_enter(producer);
    uint64_t done = 0;
    if (refused)
        return refused;
    if (producer->reserved)
        return kr_producer_leave(producer, KR_E_BUSY);
    for (; done < count; done++) {
        uint64_t length = pieces[done].length, span = kr_record_span(length);
        uint64_t room = length > KR_LENGTH_MAX ? 0 : kr_producer_room(producer, span);
        if (room < span)
            break;
        char *at = kr_producer_at(producer, producer->staged);
        if (span <= EXPECTED_MAX && room >= span + AHEAD_BYTES)
            kr_expect_writes(at + AHEAD_BYTES, span);
        kr_record_pad(at, length);
        kr_record_header(at, length, 0, 0, 0);
        kr_copy(at + KR_RECORD_BYTES, pieces[done].bytes, length);
        producer->staged += span;
        producer->staged_events++;
    }
    kr_producer_publish_locked(producer);
    if (producer->gone)
        return kr_producer_leave(producer, producer->gone);
    if (done < count) {
        uint64_t length = pieces[done].length;
        if (done == 0 && (length > KR_LENGTH_MAX || kr_record_span(length) > producer->capacity))
            return kr_producer_leave(producer, KR_E_TOO_LARGE);
        store_relaxed(&producer->header->full_hits, ++producer->full_hits);
    }
    kr_producer_unlock(producer);
    return (int64_t)done;
}

static uint64_t payload_bytes(uint8_t kind, const kr_piece *pieces, uint32_t argc)
{
    uint64_t length = kind == KIND_FRAME ? 4 + 4 * (uint64_t)argc : 0;
    for (uint32_t i = 0; i < argc; i++)
        length += pieces[i].length;
    return length;
}

static void encode_frame(char *at, uint64_t offset, uint64_t length, const kr_piece *pieces, uint32_t argc)
{
    uint32_t *words = (uint32_t *)(void *)(at + KR_RECORD_BYTES), end = 0;
    char *to = at + KR_RECORD_BYTES + 4 + 4 * (uint64_t)argc;
    kr_record_pad(at, length);
    kr_record_header(at, length, KIND_FRAME, 0, offset);
    words[0] = argc;
    for (uint32_t i = 0; i < argc; i++) {
        words[1 + i] = end += (uint32_t)pieces[i].length;
        kr_copy(to, pieces[i].bytes, pieces[i].length);
        to += pieces[i].length;
    }
}

/* Events, into the ring or behind it as by kr_send_many(). `kinds`: NULL when all are frames. `argcs[i]` pieces belong to
 * event i: of a frame at least one, of a chunk one, of the two markers none.
 * `*accepted` is `count`, or less when there was no memory for the next one, or it is too large. */
int kr_send_pieces(kr_producer *producer, uint64_t count, const uint8_t *kinds, const uint64_t *offsets, const uint32_t *argcs, const kr_piece *pieces, uint64_t *accepted)
{
    int refused = kr_producer_enter(producer);
    *accepted = 0;
    if (refused)
        return refused;
    for (uint64_t i = 0; i < count; i++) {
        int in_ring;
        uint8_t kind = kinds ? kinds[i] : KIND_FRAME;
        uint64_t length = payload_bytes(kind, pieces, argcs[i]);
        char *at = length > KR_LENGTH_MAX ? NULL : kr_place(producer, kr_record_span(length), &in_ring);
        if (producer->gone)
            return kr_producer_leave(producer, producer->gone);
        if (!at)
            break;
        if (kind == KIND_FRAME) {
            encode_frame(at, offsets[i], length, pieces, argcs[i]);
        } else {
            kr_record_pad(at, length);
            kr_record_header(at, length, kind, 0, offsets[i]);
            if (length)
                memcpy(at + KR_RECORD_BYTES, pieces->bytes, length);
            kr_count_marker(producer, kind);
        }
        kr_placed(producer, length, in_ring);
        pieces += argcs[i];
        *accepted = i + 1;
    }
    return kr_finish(producer);
}
