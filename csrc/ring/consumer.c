/* The consumer: one pass over the published records fills the columns of a batch; one store of `head`
 * gives their space back.
 *
 * Every record is another process's claim: its header is read once into a local and bounded by what is
 * published before it is used. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring/ring.h"

#define NOT_IDLE UINT64_MAX /* no position of a record: those are multiples of 8 */

static int foreign(const struct kr_consumer *consumer) { return consumer->generation != kr_generation; }

/* Locks a usable handle, or says why not. Whether it is closed is asked under the lock: who waited for it while the
 * role was given up must not write the words of the next holder. */
int kr_consumer_enter(struct kr_consumer *consumer)
{
    if (foreign(consumer))
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
    store_relaxed(&consumer->idle_at, tended || consumer->drained != consumer->head ? NOT_IDLE : consumer->head);
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

kr_consumer *kr_consumer_new(kr_map *map, char *area)
{
    struct kr_consumer *consumer = calloc(1, sizeof *consumer);
    if (!consumer)
        return NULL;
    pthread_mutex_init(&consumer->lock, NULL);
    consumer->map = map;
    consumer->generation = kr_generation_watched();
    consumer->header = map->header;
    consumer->data = area;
    consumer->capacity = map->capacity;
    consumer->mask = map->capacity - 1;
    consumer->data_bell = map->data_bell;
    consumer->space_bell = map->space_bell;
    consumer->closed = 1; /* until the role is taken */
    store_relaxed(&consumer->idle_at, NOT_IDLE);
    kr_peer_init(&consumer->peer, &map->header->producer);
    kr_map_hold(map);
    return consumer;
}

static int refuse(kr_failure *why, int code)
{
    why->code = code;
    return code;
}

static int take(struct kr_consumer *consumer, kr_failure *why)
{
    struct kr_header *header = consumer->header;
    if (consumer->takes_none || (consumer->has_role && consumer->closed))
        return refuse(why, KR_E_CLOSED);
    if (consumer->has_role)
        return 0;
    if (kr_role_take(&consumer->role, &header->consumer, why))
        return why->code;
    consumer->head = consumer->drained = load_acquire(&header->head);
    uint64_t tail = load_acquire(&header->tail);
    if (tail - consumer->head > consumer->capacity || (consumer->head & 7)) {
        kr_role_release(&consumer->role, KR_ROLE_CLOSED);
        return refuse(why, KR_E_CORRUPT);
    }
    store_relaxed(&consumer->idle_at, consumer->head);
    consumer->data_request = load_relaxed(&header->data_request);
    consumer->space_reply = load_relaxed(&header->space_reply);
    consumer->events_out = load_relaxed(&header->events_out);
    consumer->bytes_out = load_relaxed(&header->bytes_out);
    consumer->drains = load_relaxed(&header->drains);
    consumer->space_wakes = load_relaxed(&header->space_wakes);
    consumer->stamps_made = load_acquire(&header->stamps);
    consumer->stamps = consumer->stamps_made < KR_STAMPS ? 0 : consumer->stamps_made - KR_STAMPS;
    KR_POINT(27);
    /* What a predecessor left in the FIFO, or took out of it, is unknown: begin with a new request. */
    kr_consumer_arm(consumer);
    kr_bell_ring(consumer->space_bell); /* a waiting producer learns of its new peer */
    consumer->has_role = 1;
    consumer->closed = 0;
    return 0;
}

int kr_consumer_take(kr_consumer *consumer, kr_failure *why)
{
    if (!consumer)
        return refuse(why, KR_E_NOMEM); /* of kr_consumer_new() */
    if (foreign(consumer))
        return refuse(why, KR_E_FORKED);
    pthread_mutex_lock(&consumer->lock);
    int refused = take(consumer, why);
    pthread_mutex_unlock(&consumer->lock);
    return refused;
}

kr_consumer *kr_consumer_open(kr_map *map, char *area, kr_failure *why)
{
    kr_consumer *consumer = kr_consumer_new(map, area);
    if (kr_consumer_take(consumer, why)) {
        kr_consumer_free(consumer);
        return NULL;
    }
    return consumer;
}

void kr_consumer_close(kr_consumer *consumer)
{
    if (foreign(consumer))
        return;
    pthread_mutex_lock(&consumer->lock);
    consumer->takes_none = !consumer->has_role;
    if (!consumer->closed) {
        consumer->closed = 1;
        kr_role_release(&consumer->role, KR_ROLE_CLOSED);
        kr_bell_ring(consumer->space_bell); /* the producer's pump: look at the claim */
        kr_bell_ring(consumer->data_bell);  /* our own waiter in another thread: look at `closed` */
    }
    kr_consumer_leave(consumer, 0);
}

void kr_consumer_free(kr_consumer *consumer)
{
    if (!consumer)
        return;
    kr_consumer_close(consumer);
    kr_peer_forget(&consumer->peer);
    pthread_mutex_destroy(&consumer->lock);
    kr_map_close(consumer->map);
    free(consumer);
}

/* The area was frozen for views that outlive their batch; go on with a new mapping of the same pages. */
void kr_consumer_rebase(kr_consumer *consumer, char *area) { consumer->data = area; }

/* Reads one header once, checks it against what is published. Returns 0 or the number of the wrong field. */
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

/* The idle path: one load of a shared word, no lock. Not while a batch is open, nor while a descriptor is watched,
 * which wants tending. */
static int nothing_to_drain(struct kr_consumer *consumer)
{
    uint64_t idle_at = load_relaxed(&consumer->idle_at);
    return idle_at != NOT_IDLE && load_acquire(&consumer->header->tail) == idle_at && !foreign(consumer);
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
    uint64_t head = consumer->head, position = head, count = 0;
    /* Pairs with the store of tail in kr_producer_publish_locked(). */
    uint64_t tail = load_acquire(&consumer->header->tail);
    /* Pairs with the store in kr_stamp_make(): who sees the number finds the stamp. Here, where its line was just read. */
    consumer->stamps_made = load_acquire(&consumer->header->stamps);
    struct kr_columns to = kr_split_columns(columns, max_records);
    if (tail - head > consumer->capacity)
        return kr_consumer_leave(consumer, fault(consumer, head, 1));
    out->position = head;
    out->index = head & consumer->mask;
    out->fragment = out->flags = 0;
    uint32_t frames = 0;
    const char *base = consumer->data + out->index;
    uint64_t plain = 0;
    count = kr_take_plain(base, tail - head, max_bytes, max_records, to, &plain, &frames);
    position += plain;
    while (count < max_records && position != tail) {
        struct kr_record record;
        uint32_t argc;
        int wrong = read_record(base + (position - head), tail - position, &record, &argc);
        if (wrong) {
            if (count)
                break; /* what stands before the fault is whole: deliver it first */
            return kr_consumer_leave(consumer, fault(consumer, position, wrong));
        }
        uint64_t span = kr_record_span(record.length);
        if (count && (record.flags || position + span - head > max_bytes))
            break;
        to.offsets[count] = record.offset;
        to.starts[count] = position - head + KR_RECORD_BYTES;
        to.lengths[count] = record.length;
        to.argcs[count] = argc;
        to.kinds[count] = record.kind;
        frames += record.kind == KR_KIND_FRAME;
        position += span;
        count++;
        if (record.flags) {
            out->fragment = 1;
            out->flags = record.flags;
            break;
        }
    }
    out->span = position - head;
    out->count = (uint32_t)count;
    out->frames = frames;
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

/* Gives the space before `position` back. With `done` the batch is over, and what lies behind is drained again. */
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
        kr_bell_ring(consumer->data_bell); /* they found nothing, and now there is something */
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
     * before the producer may write over them. As seq_cst it stands before the load of the request. */
    store_seq_cst(&header->head, position);
    uint64_t request = load_seq_cst(&header->space_request);
    KR_POINT(24);
    if (request != consumer->space_reply) {
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
    return kr_consumer_leave(consumer, 0);
}

/* 0, or how the producer ended, once all that it published is drained. Also of a closed or inherited handle. */
int kr_consumer_peer(kr_consumer *consumer, kr_role_info *out)
{
    kr_role_read(consumer->peer.claim, out);
    if (foreign(consumer))
        return KR_E_FORKED;
    int gone = kr_peer_gone(&consumer->peer);
    if (!gone)
        return 0;
    pthread_mutex_lock(&consumer->lock);
    if (load_acquire(&consumer->header->tail) != consumer->drained)
        gone = 0;
    return kr_consumer_leave(consumer, gone);
}

/* Also of a corrupt ring: what was applied is applied. */
int kr_consumer_set_word(kr_consumer *consumer, uint32_t which, uint64_t value)
{
    if (foreign(consumer))
        return KR_E_FORKED;
    if (which >= KR_WORDS)
        return KR_E_ARGUMENT;
    pthread_mutex_lock(&consumer->lock);
    if (consumer->closed)
        return kr_consumer_leave(consumer, KR_E_CLOSED);
    store_release(&consumer->header->consumer_words[which], value);
    return kr_consumer_leave(consumer, 0);
}

int kr_consumer_fault(kr_consumer *consumer, uint64_t *position)
{
    *position = 0;
    if (foreign(consumer))
        return 0;
    pthread_mutex_lock(&consumer->lock);
    *position = consumer->fault_position;
    return kr_consumer_leave(consumer, consumer->fault_field);
}
