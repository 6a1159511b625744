/* The consumer: one pass over the published records fills the columns of a batch. One store of `head` gives their space
 * back.
 *
 * Every record is a claim by another process. Its header is read once into a local, and checked against the published
 * bytes before it is used. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring/ring.h"

/* Locks a usable handle, or says why it is not usable. It checks `closed` under the lock: another thread may have given the
 * role up meanwhile, and then this one must not write the words of the next holder. */
int kr_consumer_enter(struct kr_consumer *consumer)
{
    if (kr_consumer_is_foreign(consumer))
        return KR_E_FORKED;
    pthread_mutex_lock(&consumer->lock);
    int refused = consumer->closed ? KR_E_CLOSED : consumer->fault_field ? KR_E_CORRUPT : 0;
    if (refused)
        pthread_mutex_unlock(&consumer->lock);
    return refused;
}

int kr_consumer_leave(struct kr_consumer *consumer, int answer)
{
    int tended = consumer->closed || consumer->fault_field || consumer->peer.wait_fd >= 0;
    store_relaxed(&consumer->idle_at, tended || consumer->drained != consumer->head ? KR_NOT_IDLE : consumer->head);
    pthread_mutex_unlock(&consumer->lock);
    return answer;
}

/* Fields: 1 tail, 2 length, 3 reserved bytes, 4 kind, 5 flags, 6 argc, 7 end position. */
static int fault(struct kr_consumer *consumer, uint64_t position, int field)
{
    consumer->fault_position = position;
    consumer->fault_field = field;
    return KR_E_CORRUPT;
}

/* Reads one header once and checks it against the published bytes. Returns 0, or the number of the wrong field. */
static int read_record(const char *at, uint64_t available, struct kr_record *out, uint32_t *argc)
{
    uint64_t first = *(const volatile uint64_t *)(const void *)at;
    out->length = (uint32_t)first;
    out->kind = (uint8_t)(first >> 32);
    out->flags = (uint8_t)(first >> 40);
    out->offset = *(const volatile uint64_t *)(const void *)(at + 8);
    *argc = 0;
    if (kr_record_span(out->length) > available)
        return 2;
    if (first >> 48)
        return 3;
    if (out->kind > KR_KIND_LAST)
        return 4;
    if (out->flags & ~KR_FLAGS_KNOWN)
        return 5;
    if (out->kind == KR_KIND_FRAME && !out->flags) {
        uint32_t args = 0;
        if (out->length < 8 || (args = *(const volatile uint32_t *)(const void *)(at + 16)) == 0 ||
            (uint64_t)args * 4 + 4 > out->length)
            return 6;
        uint32_t last = *(const volatile uint32_t *)(const void *)(at + 16 + (uint64_t)args * 4);
        if (last != out->length - 4 - args * 4)
            return 7;
        *argc = args;
    }
    return 0;
}

/* The idle path: one load of a shared word, no lock. Not while a batch is open, or while an event loop watches the descriptor:
 * then a drain also updates the descriptor. */
static int nothing_to_drain(struct kr_consumer *consumer)
{
    uint64_t idle_at = load_relaxed(&consumer->idle_at);
    return idle_at != KR_NOT_IDLE && load_acquire(&consumer->header->tail) == idle_at && !kr_consumer_is_foreign(consumer);
}

/* Adds records of any form to those in `out`, and checks each of them. Returns 0, or the number of the wrong field if the
 * first record of the batch is wrong. */
static int take_checked(const char *base, uint64_t bytes, uint64_t max_records, uint64_t max_bytes, struct kr_columns to, kr_batch *out)
{
    while (out->count < max_records && out->span != bytes) {
        struct kr_record record;
        uint32_t argc, i = out->count;
        int wrong = read_record(base + out->span, bytes - out->span, &record, &argc);
        if (wrong)
            return i ? 0 : wrong; /* the records before the wrong one are whole: deliver them first */
        uint64_t span = kr_record_span(record.length);
        if (i && (record.flags || out->span + span > max_bytes))
            return 0;
        to.offsets[i] = record.offset;
        to.starts[i] = out->span + KR_RECORD_BYTES;
        to.lengths[i] = record.length;
        to.argcs[i] = argc;
        to.kinds[i] = record.kind;
        out->frames += record.kind == KR_KIND_FRAME;
        out->span += span;
        out->count++;
        if (record.flags) {
            out->fragment = 1;
            out->flags = record.flags;
            return 0;
        }
    }
    return 0;
}

int64_t kr_consumer_drain(kr_consumer *consumer, uint64_t max_records, uint64_t max_bytes, char *columns, kr_batch *out)
{
    if (nothing_to_drain(consumer))
        return 0;
    int refused = kr_consumer_enter(consumer);
    if (refused)
        return refused;
    if (consumer->drained != consumer->head)
        return kr_consumer_leave(consumer, KR_E_BUSY);
    uint64_t head = consumer->head;
    /* Pairs with the store of tail in kr_producer_publish_locked(). */
    uint64_t tail = load_acquire(&consumer->header->tail), bytes = tail - head;
    /* Pairs with the store in kr_stamp_make(): after this number the stamp is visible. It is on the same line as tail. */
    consumer->stamps_made = load_acquire(&consumer->header->stamps);
    struct kr_columns to = kr_split_columns(columns, max_records);
    if (bytes > consumer->capacity)
        return kr_consumer_leave(consumer, fault(consumer, head, 1));
    out->position = head;
    out->index = head & consumer->mask;
    out->fragment = out->flags = 0;
    const char *base = consumer->data + out->index;
    /* Ordinary records: plain_run.c. It stops at the first record that needs more checks. take_checked() continues there. */
    out->count = (uint32_t)kr_take_plain(base, bytes, max_bytes, max_records, to, &out->span, &out->frames);
    int wrong = out->count < max_records && out->span != bytes ? take_checked(base, bytes, max_records, max_bytes, to, out) : 0;
    if (wrong)
        return kr_consumer_leave(consumer, fault(consumer, head, wrong));
    uint64_t count = out->count, position = head + out->span;
    out->more = position != tail;
    consumer->drained = position;
    KR_POINT(22);
    if (count) {
        store_relaxed(&consumer->header->drains, ++consumer->drains);
        store_relaxed(&consumer->header->last_drain_ns, kr_now_coarse_ns());
    }
    if (consumer->peer.wait_fd >= 0)
        kr_consumer_tend(consumer, position, tail);
    kr_consumer_leave(consumer, 0);
    return (int64_t)count;
}

/* The producer asked for space. Wake it if the head has reached the position that it wants. */
static void wake_for_space(struct kr_consumer *consumer, uint64_t position, uint64_t request)
{
    struct kr_header *header = consumer->header;
    uint64_t wanted = load_relaxed(&header->space_wanted);
    if ((int64_t)(position - wanted) >= 0) {
        kr_bell_ring(consumer->space_bell);
        KR_POINT(25);
        consumer->space_reply = request;
        store_release(&header->space_reply, request);
        KR_POINT(26);
        store_relaxed(&header->space_wakes, ++consumer->space_wakes);
    }
}

/* Gives the space before `position` back. With `done` the batch ends, and the next drain starts again at `position`. */
int kr_consumer_release(kr_consumer *consumer, uint64_t position, uint64_t events, int done)
{
    int refused = kr_consumer_enter(consumer);
    struct kr_header *header = consumer->header;
    if (refused)
        return refused;
    if (position - consumer->head > consumer->drained - consumer->head || (position & 7))
        return kr_consumer_leave(consumer, KR_E_ARGUMENT);
    uint64_t freed = position - consumer->head;
    int seen_again = done && position != consumer->drained;
    consumer->head = position;
    if (done)
        consumer->drained = position;
    if (seen_again && consumer->peer.wait_fd >= 0)
        kr_consumer_tend(consumer, position, load_acquire(&header->tail));
    else if (seen_again && load_relaxed32(&consumer->sleepers))
        kr_bell_ring(consumer->data_bell); /* they found nothing, and now there are records again */
    if (!freed)
        return kr_consumer_leave(consumer, 0);
    consumer->events_out += events;
    consumer->bytes_out += freed;
    store_relaxed(&header->events_out, consumer->events_out);
    store_relaxed(&header->bytes_out, consumer->bytes_out);
    if (consumer->stamps_made != consumer->stamps)
        kr_stamps_count(consumer, position - freed, position);
    KR_POINT(23);
    /* As a release it pairs with the acquire load of head in kr_producer_room(): this side has read all bytes
     * before the producer may write over them. As seq_cst it comes before the load of the request. */
    store_seq_cst(&header->head, position);
    uint64_t request = load_seq_cst(&header->space_request);
    KR_POINT(24);
    if (request != consumer->space_reply)
        wake_for_space(consumer, position, request);
    return kr_consumer_leave(consumer, 0);
}

/* Copies all payloads of a batch back to back. `ends` gets the end of each in `out`, which has room for all. Returns the bytes. */
int64_t kr_batch_join(const char *batch, char *columns, uint64_t records, uint64_t count, char *out, uint64_t *ends)
{
    struct kr_columns from = kr_split_columns(columns, records);
    uint64_t done = 0;
    for (uint64_t i = 0; i < count; i++) {
        memcpy(out + done, batch + from.starts[i], from.lengths[i]);
        done += from.lengths[i];
        ends[i] = done;
    }
    return (int64_t)done;
}
