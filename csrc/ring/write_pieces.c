/* Records from separate pieces of memory, such as the objects of an interpreter. One copy of each, straight into the ring.
 * One lock and one publish for any number of records. */
#include "ring/ring.h"
#include "ring/short_copy.h"

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
        if (span <= KR_EXPECTED_MAX && room >= span + KR_AHEAD_BYTES)
            kr_expect_writes(at + KR_AHEAD_BYTES, span);
        kr_record_pad(at, length);
        kr_record_header(at, length, KR_KIND_BYTES, 0, 0);
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
        kr_producer_count_full(producer);
    }
    kr_producer_unlock(producer);
    return (int64_t)done;
}
