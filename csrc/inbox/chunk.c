/* A chunk of a snapshot that the caller writes in place, in the ring itself. */
#include <string.h>

#include "inbox/encode.h"
#include "inbox/inbox.h"

int64_t kr_chunk_reserve(kr_sender *sender, uint64_t length)
{
    struct kr_producer *producer = &sender->producer;
    int64_t answer = kr_producer_enter(producer);
    if (answer)
        return answer;
    /* A chunk in the ring would overtake the events of the overflow. */
    answer = kr_producer_reserve_locked(producer, length, !sender->overflow.events);
    kr_producer_unlock(producer);
    return answer;
}

int kr_chunk_abort(kr_sender *sender)
{
    struct kr_producer *producer = &sender->producer;
    if (kr_producer_is_foreign(producer))
        return KR_E_FORKED;
    kr_producer_lock(producer);
    producer->reserved = 0;
    if (sender->overflow.events)
        kr_bell_ring(producer->space_bell); /* the pump waited for the reservation to end */
    return kr_producer_leave(producer, 0);
}

/* Makes the reservation a SnapshotChunk. If other threads sent events meanwhile, those are in the overflow. Then the chunk is
 * copied behind them. */
int kr_chunk_commit(kr_sender *sender, uint64_t length)
{
    struct kr_producer *producer = &sender->producer;
    int refused = kr_producer_enter(producer), in_ring;
    if (refused)
        return refused;
    if (!producer->reserved || length > producer->reserved - 1)
        return kr_producer_leave(producer, KR_E_ARGUMENT);
    char *reserved = kr_producer_at(producer, producer->staged);
    producer->reserved = 0;
    if (!sender->overflow.events) {
        memset(reserved + KR_RECORD_BYTES + length, 0, kr_record_span(length) - KR_RECORD_BYTES - length);
        KR_POINT(2);
        kr_record_header(reserved, length, KR_KIND_SNAPSHOT_CHUNK, 0, 0);
        kr_resume_note(&producer->note, reserved, 1);
        producer->staged += kr_record_span(length);
        producer->staged_events++;
        return kr_finish(sender);
    }
    kr_bell_ring(producer->space_bell); /* the pump waited for the reservation to end */
    char *at = kr_place(sender, kr_record_span(length), &in_ring);
    if (producer->gone || !at)
        return kr_producer_leave(producer, producer->gone ? producer->gone : KR_E_NOMEM);
    kr_encode_plain(at, KR_KIND_SNAPSHOT_CHUNK, 0, reserved + KR_RECORD_BYTES, length);
    if (in_ring)
        kr_resume_note(&producer->note, at, 1);
    return kr_finish(sender);
}
