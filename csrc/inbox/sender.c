/* Events into the ring or, when it is full, into the overflow: one encoder, one layout, one order. */
#include <string.h>

#include "ring/ring.h"

#define KIND_BEGIN 1u
#define KIND_CHUNK 2u
#define KIND_FRAME 4u

static uint64_t frame_length(uint64_t total, uint64_t argc) { return 4 + 4 * argc + total; }

static void encode_frame(char *at, uint64_t offset, const char *joined, uint64_t total, const uint32_t *lengths, uint32_t argc)
{
    uint64_t length = frame_length(total, argc);
    uint32_t *words = (uint32_t *)(void *)(at + KR_RECORD_BYTES), end = 0;
    kr_record_pad(at, length);
    kr_record_header(at, length, KIND_FRAME, 0, offset);
    words[0] = argc;
    for (uint32_t i = 0; i < argc; i++)
        words[1 + i] = end += lengths[i];
    memcpy(words + 1 + argc, joined, total);
}

static void encode_plain(char *at, uint32_t kind, uint64_t offset, const char *bytes, uint64_t length)
{
    kr_record_pad(at, length);
    kr_record_header(at, length, kind, 0, offset);
    if (length)
        memcpy(at + KR_RECORD_BYTES, bytes, length);
}

static int sums_to(const uint32_t *lengths, uint64_t count, uint64_t total)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += lengths[i];
    return sum == total;
}

/* The same bytes as in the ring, for digests and tests. Returns the span, or what kr_send_frame() would say. */
int64_t kr_encode_frame(char *out, uint64_t room, uint64_t offset, const char *joined, uint64_t total, const uint32_t *lengths, uint32_t argc)
{
    uint64_t length = frame_length(total, argc), span = kr_record_span(length);
    if (!argc || !sums_to(lengths, argc, total))
        return KR_E_ARGUMENT;
    if (length > KR_LENGTH_MAX || span > room)
        return KR_E_TOO_LARGE;
    encode_frame(out, offset, joined, total, lengths, argc);
    return (int64_t)span;
}

/* Where the next record goes: in the ring when nothing waits in the overflow and it fits, else there. */
char *kr_place(struct kr_producer *producer, uint64_t span, int *in_ring)
{
    struct kr_overflow *overflow = &producer->overflow;
    *in_ring = !overflow->events && !producer->reserved && span <= producer->capacity &&
               kr_producer_room(producer, span) >= span;
    if (*in_ring)
        return kr_producer_at(producer, producer->staged);
    if (!overflow->events)
        store_relaxed(&producer->header->full_hits, ++producer->full_hits);
    return kr_overflow_append(producer, span);
}

void kr_placed(struct kr_producer *producer, uint64_t length, int in_ring)
{
    if (!in_ring) {
        kr_overflow_appended(producer, kr_record_span(length), 1);
        return;
    }
    KR_POINT(1);
    kr_resume_note(&producer->resume, kr_producer_at(producer, producer->staged));
    producer->staged += kr_record_span(length);
    producer->staged_events++;
}

/* Publishes what went into the ring, and sees to it that the rest is moved on. */
int kr_finish(struct kr_producer *producer)
{
    int answer = KR_SEND_RING;
    kr_producer_publish_locked(producer);
    if (producer->overflow.events) {
        kr_overflow_publish_gauges(producer);
        answer = KR_SEND_OVERFLOW | kr_overflow_waits(producer);
    }
    kr_producer_unlock(producer);
    return answer;
}

/* Words of the producer: how many snapshots were begun and ended by a send, wherever their markers are by now. */
enum { WORD_SNAPSHOTS_BEGUN = 4, WORD_SNAPSHOTS_ENDED = 5 };

static void publish_snapshots(struct kr_producer *producer)
{
    store_release(&producer->header->producer_words[WORD_SNAPSHOTS_BEGUN], producer->snapshots_begun);
    store_release(&producer->header->producer_words[WORD_SNAPSHOTS_ENDED], producer->snapshots_ended);
}

/* The role was taken. Of a predecessor only what was published counts: what waited behind the ring went with it. */
void kr_snapshots_begin(struct kr_producer *producer)
{
    producer->snapshots_begun = producer->snapshots_ended = producer->resume.flags / KR_RESUME_SNAPSHOT;
    producer->in_snapshot = 0;
    if (producer->counts_snapshots)
        publish_snapshots(producer);
}

/* An event that is no frame was accepted. */
void kr_count_marker(struct kr_producer *producer, uint32_t kind)
{
    if (!producer->counts_snapshots || kind == KIND_CHUNK)
        return;
    producer->in_snapshot = kind == KIND_BEGIN;
    if (producer->in_snapshot)
        producer->snapshots_begun++;
    else
        producer->snapshots_ended++;
    publish_snapshots(producer);
}

int kr_producer_snapshots(kr_producer *producer, kr_snapshots_sent *out)
{
    if (producer->generation != kr_generation())
        return KR_E_FORKED;
    kr_producer_lock(producer);
    out->begun = producer->snapshots_begun;
    out->ended = producer->snapshots_ended;
    out->is_open = (uint32_t)producer->in_snapshot;
    return kr_producer_leave(producer, 0);
}

/* Locks, and finds the place of one record of `length` payload bytes; on a refusal it is unlocked again. */
static int begin(struct kr_producer *producer, uint64_t length, char **at, int *in_ring)
{
    if (length > KR_LENGTH_MAX)
        return KR_E_TOO_LARGE;
    int refused = kr_producer_enter(producer);
    if (refused)
        return refused;
    *at = kr_place(producer, kr_record_span(length), in_ring);
    if (producer->gone || !*at)
        return kr_producer_leave(producer, producer->gone ? producer->gone : KR_E_NOMEM);
    return 0;
}

int kr_send_frame(kr_producer *producer, uint64_t offset, const char *joined, uint64_t total, const uint32_t *lengths, uint32_t argc)
{
    uint64_t length = frame_length(total, argc);
    char *at;
    int in_ring;
    if (argc == 0 || !sums_to(lengths, argc, total))
        return KR_E_ARGUMENT;
    int refused = begin(producer, length, &at, &in_ring);
    if (refused)
        return refused;
    encode_frame(at, offset, joined, total, lengths, argc);
    kr_placed(producer, length, in_ring);
    return kr_finish(producer);
}

int kr_send_plain(kr_producer *producer, uint32_t kind, uint64_t offset, const char *bytes, uint64_t length)
{
    char *at;
    int in_ring;
    if (!kind || kind >= KIND_FRAME)
        return KR_E_ARGUMENT;
    int refused = begin(producer, length, &at, &in_ring);
    if (refused)
        return refused;
    encode_plain(at, kind, offset, bytes, length);
    kr_placed(producer, length, in_ring);
    kr_count_marker(producer, kind);
    return kr_finish(producer);
}

/* `argcs[i]` lengths belong to event i (one for a chunk, none for the two markers). One publish. `*accepted` is
 * `count`, or less when there was no memory (or an event is too large) for the next one. */
int kr_send_many(kr_producer *producer, uint64_t count, const uint8_t *kinds, const uint64_t *offsets, const uint32_t *argcs,
                 const char *joined, uint64_t total, const uint32_t *lengths, uint64_t length_count, uint64_t *accepted)
{
    uint64_t used = 0;
    *accepted = 0;
    if (!sums_to(lengths, length_count, total))
        return KR_E_ARGUMENT;
    /* Whatever a drain would take for a fault, before anything is written. */
    for (uint64_t i = 0; i < count; i++) {
        if (!kinds[i] || kinds[i] > KIND_FRAME || (kinds[i] == KIND_FRAME && !argcs[i]))
            return KR_E_ARGUMENT;
        used += argcs[i];
    }
    if (used != length_count)
        return KR_E_ARGUMENT;
    int refused = kr_producer_enter(producer);
    if (refused)
        return refused;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t bytes = 0;
        int in_ring, frame = kinds[i] == KIND_FRAME;
        for (uint32_t a = 0; a < argcs[i]; a++)
            bytes += lengths[a];
        uint64_t length = frame ? frame_length(bytes, argcs[i]) : bytes;
        char *at = length > KR_LENGTH_MAX ? NULL : kr_place(producer, kr_record_span(length), &in_ring);
        if (producer->gone)
            return kr_producer_leave(producer, producer->gone);
        if (!at) {
            *accepted = i;
            return kr_finish(producer);
        }
        if (frame) {
            encode_frame(at, offsets[i], joined, bytes, lengths, argcs[i]);
        } else {
            encode_plain(at, kinds[i], offsets[i], joined, bytes);
            kr_count_marker(producer, kinds[i]);
        }
        kr_placed(producer, length, in_ring);
        joined += bytes;
        lengths += argcs[i];
    }
    *accepted = count;
    return kr_finish(producer);
}

/* Ends a reservation as a SnapshotChunk. Events that other threads sent meanwhile lie in the overflow; the
 * chunk then goes behind them, by a copy. */
int kr_commit_chunk(kr_producer *producer, uint64_t length)
{
    int refused = kr_producer_enter(producer), in_ring;
    if (refused)
        return refused;
    if (!producer->reserved || length > producer->reserved - 1)
        return kr_producer_leave(producer, KR_E_ARGUMENT);
    char *reserved = kr_producer_at(producer, producer->staged);
    producer->reserved = 0;
    if (!producer->overflow.events) {
        memset(reserved + KR_RECORD_BYTES + length, 0, kr_record_span(length) - KR_RECORD_BYTES - length);
        KR_POINT(2);
        kr_record_header(reserved, length, KIND_CHUNK, 0, 0);
        kr_placed(producer, length, 1);
        return kr_finish(producer);
    }
    kr_bell_ring(producer->space_bell); /* the pump waited for the reservation to end */
    char *at = kr_place(producer, kr_record_span(length), &in_ring);
    if (producer->gone || !at)
        return kr_producer_leave(producer, producer->gone ? producer->gone : KR_E_NOMEM);
    encode_plain(at, KIND_CHUNK, 0, reserved + KR_RECORD_BYTES, length);
    kr_placed(producer, length, in_ring);
    return kr_finish(producer);
}
