/* The producer: it writes records at `staged`, and reveals them with one store of `tail`.
 *
 * Why it is safe: only this side writes tail, only the consumer writes head, and both only grow. Bytes in
 * [head, tail) belong to the consumer, all others to the producer. A stale head only hides free space. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring/ring.h"
#include "ring/short_copy.h"

#define ALIKE_MAX 64u /* records of one length that one loop writes */
#define SHORTEST 16u  /* bytes: if the compiler knows this length, the copy is two instructions */

void kr_producer_lock(struct kr_producer *producer)
{
    if (pthread_mutex_trylock(&producer->lock) == 0)
        return;
    count_up32(&producer->waiters);
    pthread_mutex_lock(&producer->lock);
    count_down32(&producer->waiters);
}

void kr_producer_unlock(struct kr_producer *producer) { pthread_mutex_unlock(&producer->lock); }

int kr_producer_usable(struct kr_producer *producer)
{
    if (producer->closed)
        return KR_E_CLOSED;
    if (!producer->gone)
        producer->gone = kr_peer_gone(&producer->peer);
    return producer->gone;
}

/* Free bytes, at least `wanted` if the ring has that many. Refreshes the cached head only if it must. */
uint64_t kr_producer_room(struct kr_producer *producer, uint64_t wanted)
{
    uint64_t room = producer->capacity - (producer->staged - producer->head_cache);
    if (room >= wanted)
        return room;
    /* Pairs with the store of head in kr_consumer_release(): the consumer is done with all bytes before it. */
    if (!kr_producer_believes(producer, load_acquire(&producer->header->head)))
        return 0;
    return producer->capacity - (producer->staged - producer->head_cache);
}

void kr_producer_ring_data_bell(struct kr_producer *producer, uint64_t request)
{
    KR_POINT(8);
    kr_bell_ring(producer->data_bell);
    KR_POINT(9);
    producer->data_reply = request;
    /* Pairs with the acquire load in kr_consumer_tend(): if the request is honoured, its byte is in the FIFO. */
    store_release(&producer->header->data_reply, request);
    KR_POINT(10);
    store_relaxed(&producer->header->data_wakes, ++producer->data_wakes);
}

void kr_producer_publish_locked(struct kr_producer *producer)
{
    struct kr_header *header = producer->header;
    if (producer->tail == producer->staged)
        return;
    KR_POINT(4);
    producer->events_in += producer->staged_events;
    producer->bytes_in += producer->staged - producer->tail;
    producer->staged_events = 0;
    store_relaxed(&header->events_in, producer->events_in);
    store_relaxed(&header->bytes_in, producer->bytes_in);
    store_relaxed(&header->publishes, ++producer->publishes);
    producer->tail = producer->staged;
    if (producer->note.words[KR_NOTE_MARK]) {
        struct kr_note_slot *slot = &header->note[producer->note.turn];
        /* Release stores for kr_note_look(), which reads while the producer lives. A successor needs only the stamp's. */
        for (unsigned i = 0; i < KR_NOTE_WORDS; i++)
            store_release(&slot->words[i], producer->note.words[i]);
        KR_POINT(5);
        /* Pairs with the acquire load in kr_note_find(): a reader that sees the stamp sees the words. */
        store_release(&slot->stamp, producer->tail);
        producer->note.turn ^= 1;
    }
    if (producer->events_in >= producer->stamp_due)
        kr_stamp_make(producer, producer->tail);
    KR_POINT(6);
    /* As a release it pairs with the acquire load of tail in kr_consumer_drain(): all bytes of all committed
     * records are visible before the position that reveals them. As seq_cst it comes before the load of the
     * request: either the sleeper sees this tail, or this side sees its request. */
    store_seq_cst(&header->tail, producer->tail);
    uint64_t request = load_seq_cst(&header->data_request);
    KR_POINT(7);
    if (request != producer->data_reply)
        kr_producer_ring_data_bell(producer, request);
}

int kr_producer_enter(struct kr_producer *producer)
{
    if (producer->generation != kr_generation) /* before the lock, see kr_producer_is_foreign() */
        return KR_E_FORKED;
    if (pthread_mutex_trylock(&producer->lock))
        kr_producer_lock(producer);
    uint32_t claim = load_acquire32(&producer->peer.claim->word);
    if (!producer->closed && !producer->gone && claim < KR_ROLE_CLOSED)
        return 0; /* the consumer lives, or there was none yet */
    int refused = kr_producer_usable(producer);
    if (refused)
        kr_producer_unlock(producer);
    return refused;
}

int kr_producer_leave(struct kr_producer *producer, int answer)
{
    kr_producer_unlock(producer);
    return answer;
}

/* A record did not fit. */
void kr_producer_count_full(struct kr_producer *producer)
{
    if (producer->peer.timer_fd >= 0)
        kr_peer_tick(&producer->peer);
    store_relaxed(&producer->header->full_hits, ++producer->full_hits);
}

/* `count` records of one length, back to back in both places. `ahead`: KR_AHEAD_BYTES behind each are free too. */
static inline void stage_alike(char *at, const char *joined, uint64_t length, uint64_t count, int ahead)
{
    uint64_t span = kr_record_span(length);
    for (uint64_t i = 0; i < count; i++) {
        if (ahead)
            kr_expect_writes(at + KR_AHEAD_BYTES, span);
        kr_record_pad(at, length);
        kr_record_header(at, length, KR_KIND_BYTES, 0, 0);
        kr_copy(at + KR_RECORD_BYTES, joined, length);
        at += span;
        joined += length;
    }
}

/* Another thread of the application may write to the array of lengths meanwhile. So the value that was read is the one that
 * is used, and a value that is read again is checked again. */
static uint64_t length_at(const uint32_t *lengths, uint64_t i) { return *(const volatile uint32_t *)(lengths + i); }

/* How many lengths from `first` on are `length`, including that one, at most `most`. */
static uint64_t count_alike(const uint32_t *lengths, uint64_t first, uint64_t length, uint64_t most)
{
    uint64_t alike = 1;
    while (alike < most && length_at(lengths, first + alike) == length)
        alike++;
    return alike;
}

struct staging {
    const uint32_t *lengths;
    uint64_t count, done;
    uint64_t left;  /* bytes that are not staged yet */
    uint64_t wants; /* the span of the record that did not fit; 0: all fitted, or the lengths are wrong */
};

/* Writes whole records from `staged` on while they fit, and reveals none. 0, or -1: the lengths exceed the bytes. */
static int stage_many(struct kr_producer *producer, const char *joined, struct staging *staging)
{
    while (staging->done < staging->count) {
        uint64_t length = length_at(staging->lengths, staging->done), span = kr_record_span(length);
        if (length > staging->left)
            return -1;
        uint64_t room = kr_producer_room(producer, span);
        if (room < span) {
            staging->wants = span;
            break;
        }
        uint64_t most = staging->count - staging->done;
        uint64_t alike = count_alike(staging->lengths, staging->done, length, most < ALIKE_MAX ? most : ALIKE_MAX);
        if (alike * span > room)
            alike = room / span;
        if (alike * length > staging->left)
            return -1;
        char *at = kr_producer_at(producer, producer->staged);
        int ahead = span <= KR_EXPECTED_MAX && room >= alike * span + KR_AHEAD_BYTES;
        if (length == SHORTEST)
            stage_alike(at, joined, SHORTEST, alike, ahead);
        else
            stage_alike(at, joined, length, alike, ahead);
        joined += alike * length;
        staging->left -= alike * length;
        producer->staged += alike * span;
        staging->done += alike;
    }
    producer->staged_events += staging->done;
    return 0;
}

/* Whether the sum of the lengths that are not staged is the number of bytes that are left. */
static int adds_up(const struct staging *staging)
{
    uint64_t sum = 0;
    for (uint64_t i = staging->done; i < staging->count; i++)
        sum += length_at(staging->lengths, i);
    return sum == staging->left;
}

int64_t kr_producer_write_many(kr_producer *producer, const char *joined, uint64_t total, const uint32_t *lengths, uint64_t count)
{
    struct staging staging = {.lengths = lengths, .count = count, .left = total};
    int refused = kr_producer_enter(producer);
    if (refused)
        return refused;
    if (producer->reserved)
        return kr_producer_leave(producer, KR_E_BUSY);
    uint64_t staged = producer->staged, staged_events = producer->staged_events;
    if (stage_many(producer, joined, &staging) || !adds_up(&staging)) {
        producer->staged = staged; /* none of it was published */
        producer->staged_events = staged_events;
        return kr_producer_leave(producer, KR_E_ARGUMENT);
    }
    kr_producer_publish_locked(producer);
    if (producer->gone)
        return kr_producer_leave(producer, producer->gone);
    if (staging.done < count) {
        if (staging.wants > producer->capacity && staging.done == 0)
            return kr_producer_leave(producer, KR_E_TOO_LARGE);
        kr_producer_count_full(producer);
    }
    kr_producer_unlock(producer);
    return (int64_t)staging.done;
}

/* The index of `length` writable payload bytes in the mirrored area, or KR_RESERVE_FULL. `is_free`: 0 if the place behind
 * the staged records must stay free. */
int64_t kr_producer_reserve_locked(struct kr_producer *producer, uint64_t length, int is_free)
{
    if (producer->reserved)
        return KR_E_BUSY;
    if (length > KR_LENGTH_MAX || kr_record_span(length) > producer->capacity)
        return KR_E_TOO_LARGE;
    if (!is_free || kr_producer_room(producer, kr_record_span(length)) < kr_record_span(length)) {
        if (producer->gone)
            return producer->gone;
        kr_producer_count_full(producer);
        return KR_RESERVE_FULL;
    }
    producer->reserved = length + 1;
    return (int64_t)((producer->staged + KR_RECORD_BYTES) & producer->mask);
}

int64_t kr_producer_reserve(kr_producer *producer, uint64_t length)
{
    int64_t answer = kr_producer_enter(producer);
    if (answer)
        return answer;
    answer = kr_producer_reserve_locked(producer, length, 1);
    kr_producer_unlock(producer);
    return answer;
}

int kr_producer_commit(kr_producer *producer, uint64_t length)
{
    int refused = kr_producer_enter(producer);
    if (refused)
        return refused;
    if (!producer->reserved || length > producer->reserved - 1)
        return kr_producer_leave(producer, KR_E_ARGUMENT);
    char *at = kr_producer_at(producer, producer->staged);
    memset(at + KR_RECORD_BYTES + length, 0, kr_record_span(length) - KR_RECORD_BYTES - length);
    kr_record_header(at, length, KR_KIND_BYTES, 0, 0);
    producer->staged += kr_record_span(length);
    producer->staged_events++;
    producer->reserved = 0;
    return kr_producer_leave(producer, 0);
}

int kr_producer_abort(kr_producer *producer)
{
    if (kr_producer_is_foreign(producer))
        return KR_E_FORKED;
    kr_producer_lock(producer);
    producer->reserved = 0;
    return kr_producer_leave(producer, 0);
}

int kr_producer_publish(kr_producer *producer)
{
    int refused = kr_producer_enter(producer);
    if (refused)
        return refused;
    kr_producer_publish_locked(producer);
    return kr_producer_leave(producer, 0);
}
