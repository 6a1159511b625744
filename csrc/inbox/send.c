/* Events into the ring or, when it is full, into the overflow: one encoder, one layout, one order. */
#include "inbox/encode.h"
#include "inbox/inbox.h"

/* The place of the next record, which counts as sent from here on. It is in the ring if the overflow is empty and the record
 * fits, else in the overflow. No other thread sees it before the unlock. NULL: there is no memory, or the ring is corrupt. */
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
    kr_producer_count_full(producer);
    return kr_overflow_append(sender, span);
}

/* Publishes the records in the ring, and makes sure that a pump moves the rest. Unlocks. */
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

/* Counts an accepted event that is no frame. */
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
