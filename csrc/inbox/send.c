/* Events into the ring or, when it is full, into the overflow: one encoder, one layout, one order. */
#include <string.h>

#include "inbox/encode.h"
#include "inbox/inbox.h"

static int sums_to(const uint32_t *lengths, uint64_t count, uint64_t total)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += lengths[i];
    return sum == total;
}

/* The place of the next record, which is counted as sent: in the ring if the overflow is empty and the record fits, else in
 * the overflow. Nobody sees it before the lock is given back. NULL: there is no memory, or the ring is corrupt. */
char *kr_place(struct kr_sender *sender, uint64_t span, int *in_ring)
{
    struct kr_producer *producer = &sender->producer;
    *in_ring = 0;
    if (sender->overflow.events)
        return kr_overflow_append(sender, span);
    if (!producer->reserved && span <= producer->capacity && kr_producer_room(producer, span) >= span) {
        char *at = kr_producer_at(producer, producer->staged);
        KR_POINT(1);
        *in_ring = 1;
        producer->staged += span;
        producer->staged_events++;
        return at;
    }
    if (producer->gone)
        return NULL;
    store_relaxed(&producer->header->full_hits, ++producer->full_hits);
    return kr_overflow_append(sender, span);
}

/* Publishes what went into the ring, and sees to it that the rest is moved on. */
int kr_finish(struct kr_sender *sender)
{
    int answer = KR_SEND_RING;
    kr_producer_publish_locked(&sender->producer);
    if (sender->overflow.events) {
        kr_overflow_publish_gauges(sender);
        answer = KR_SEND_OVERFLOW | kr_overflow_waits(sender);
    }
    kr_producer_unlock(&sender->producer);
    return answer;
}

/* An event that is no frame was accepted. */
static void count_marker(struct kr_sender *sender, uint32_t kind)
{
    if (kind == KR_KIND_SNAPSHOT_CHUNK)
        return;
    sender->in_snapshot = kind == KR_KIND_SNAPSHOT_BEGIN;
    if (!sender->in_snapshot)
        store_release(&sender->producer.header->producer_words[WORD_SNAPSHOTS_ENDED], ++sender->snapshots_ended);
}

int kr_sender_snapshots(kr_sender *sender, kr_snapshots_sent *out)
{
    struct kr_producer *producer = &sender->producer;
    if (kr_producer_is_foreign(producer))
        return KR_E_FORKED;
    kr_producer_lock(producer);
    out->ended = sender->snapshots_ended;
    out->is_open = (uint32_t)sender->in_snapshot;
    return kr_producer_leave(producer, 0);
}

/* Locks, and finds the place of one record of `length` payload bytes; on a refusal it is unlocked again. */
static int begin(struct kr_sender *sender, uint64_t length, char **at, int *in_ring)
{
    struct kr_producer *producer = &sender->producer;
    if (length > KR_LENGTH_MAX)
        return KR_E_TOO_LARGE;
    int refused = kr_producer_enter(producer);
    if (refused)
        return refused;
    *at = kr_place(sender, kr_record_span(length), in_ring);
    if (producer->gone || !*at)
        return kr_producer_leave(producer, producer->gone ? producer->gone : KR_E_NOMEM);
    return 0;
}

int kr_send_frame(kr_sender *sender, uint64_t offset, const char *joined, uint64_t total, const uint32_t *lengths, uint32_t argc)
{
    uint64_t length = kr_frame_bytes(argc, total);
    char *at;
    int in_ring;
    if (argc == 0 || !sums_to(lengths, argc, total))
        return KR_E_ARGUMENT;
    int refused = begin(sender, length, &at, &in_ring);
    if (refused)
        return refused;
    kr_encode_joined(at, offset, joined, total, lengths, argc);
    if (in_ring)
        kr_resume_note(&sender->producer.note, at, 1);
    return kr_finish(sender);
}

int kr_send_plain(kr_sender *sender, uint32_t kind, uint64_t offset, const char *bytes, uint64_t length)
{
    char *at;
    int in_ring;
    if (!kind || kind >= KR_KIND_FRAME)
        return KR_E_ARGUMENT;
    int refused = begin(sender, length, &at, &in_ring);
    if (refused)
        return refused;
    kr_encode_plain(at, kind, offset, bytes, length);
    if (in_ring)
        kr_resume_note(&sender->producer.note, at, 1);
    count_marker(sender, kind);
    return kr_finish(sender);
}

/* Whether a drain would take none of the events for a fault. */
static int are_events(uint64_t count, const uint8_t *kinds, const uint32_t *argcs, uint64_t length_count)
{
    uint64_t used = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!kinds[i] || kinds[i] > KR_KIND_LAST || (kinds[i] == KR_KIND_FRAME && !argcs[i]))
            return 0;
        used += argcs[i];
    }
    return used == length_count;
}

/* `argcs[i]` lengths belong to event i (one for a chunk, none for the two markers). One publish. `*accepted` is
 * `count`, or less when there was no memory (or an event is too large) for the next one. */
int kr_send_many(kr_sender *sender, uint64_t count, const uint8_t *kinds, const uint64_t *offsets, const uint32_t *argcs,
                 const char *joined, uint64_t total, const uint32_t *lengths, uint64_t length_count, uint64_t *accepted)
{
    struct kr_producer *producer = &sender->producer;
    *accepted = 0;
    if (!sums_to(lengths, length_count, total) || !are_events(count, kinds, argcs, length_count))
        return KR_E_ARGUMENT;
    int refused = kr_producer_enter(producer);
    if (refused)
        return refused;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t bytes = 0;
        int in_ring, frame = kinds[i] == KR_KIND_FRAME;
        for (uint32_t a = 0; a < argcs[i]; a++)
            bytes += lengths[a];
        uint64_t length = frame ? kr_frame_bytes(argcs[i], bytes) : bytes;
        char *at = length > KR_LENGTH_MAX ? NULL : kr_place(sender, kr_record_span(length), &in_ring);
        if (producer->gone)
            return kr_producer_leave(producer, producer->gone);
        if (!at) {
            *accepted = i;
            return kr_finish(sender);
        }
        if (frame) {
            kr_encode_joined(at, offsets[i], joined, bytes, lengths, argcs[i]);
        } else {
            kr_encode_plain(at, kinds[i], offsets[i], joined, bytes);
            count_marker(sender, kinds[i]);
        }
        if (in_ring)
            kr_resume_note(&producer->note, at, 1);
        joined += bytes;
        lengths += argcs[i];
    }
    *accepted = count;
    return kr_finish(sender);
}

int kr_send_pieces(kr_sender *sender, uint64_t count, const uint8_t *kinds, const uint64_t *offsets, const uint32_t *argcs,
                   const kr_piece *pieces, uint64_t *accepted)
{
    struct kr_producer *producer = &sender->producer;
    int refused = kr_producer_enter(producer);
    *accepted = 0;
    if (refused)
        return refused;
    for (uint64_t i = 0; i < count; i++) {
        int in_ring;
        uint32_t kind = kinds ? kinds[i] : KR_KIND_FRAME;
        uint64_t length = kind == KR_KIND_FRAME ? 4 + 4 * (uint64_t)argcs[i] : 0;
        for (uint32_t a = 0; a < argcs[i]; a++)
            length += pieces[a].length;
        char *at = length > KR_LENGTH_MAX ? NULL : kr_place(sender, kr_record_span(length), &in_ring);
        if (producer->gone)
            return kr_producer_leave(producer, producer->gone);
        if (!at)
            break;
        if (kind == KR_KIND_FRAME) {
            kr_encode_frame(at, offsets[i], length, pieces, argcs[i]);
        } else {
            kr_encode_plain(at, kind, offsets[i], argcs[i] ? pieces->bytes : NULL, length);
            count_marker(sender, kind);
        }
        if (in_ring)
            kr_resume_note(&producer->note, at, 1);
        pieces += argcs[i];
        *accepted = i + 1;
    }
    return kr_finish(sender);
}
