/* How a producer begins and ends: the handle, its role, and the state of both. */
#include <stdlib.h>

#include "ring/ring.h"

/* `producer` is all zeros. */
void kr_producer_init(struct kr_producer *producer, struct kr_map *map, char *area)
{
    pthread_mutex_init(&producer->lock, NULL);
    producer->map = map;
    producer->generation = kr_generation_watched();
    producer->header = map->header;
    producer->data = area;
    producer->capacity = map->capacity;
    producer->mask = map->capacity - 1;
    producer->data_bell = map->data_bell;
    producer->space_bell = map->space_bell;
    producer->closed = 1; /* until the role is taken */
    kr_peer_init(&producer->peer, &map->header->consumer);
    kr_map_hold(map);
}

kr_producer *kr_producer_new(kr_map *map, char *area)
{
    struct kr_producer *producer = calloc(1, sizeof *producer);
    if (producer)
        kr_producer_init(producer, map, area);
    return producer;
}

/* Reads the header after the role was taken. */
static int begin(struct kr_producer *producer)
{
    struct kr_header *header = producer->header;
    producer->tail = producer->staged = load_acquire(&header->tail);
    producer->head_cache = load_acquire(&header->head);
    if (producer->tail - producer->head_cache > producer->capacity || (producer->tail & 7))
        return KR_E_CORRUPT;
    kr_note_find(&producer->note, header, producer->tail);
    kr_stamps_find(producer);
    producer->space_request = load_relaxed(&header->space_request);
    producer->events_in = load_relaxed(&header->events_in);
    producer->bytes_in = load_relaxed(&header->bytes_in);
    producer->publishes = load_relaxed(&header->publishes);
    producer->full_hits = load_relaxed(&header->full_hits);
    producer->data_wakes = load_relaxed(&header->data_wakes);
    KR_POINT(11);
    /* Wakes a sleeping consumer, so that it looks at its new peer. It also completes the reply of a predecessor that died
     * between byte and reply. */
    kr_producer_ring_data_bell(producer, load_seq_cst(&header->data_request));
    return 0;
}

int kr_producer_take_locked(struct kr_producer *producer, kr_failure *why)
{
    if (producer->takes_none || (producer->has_role && producer->closed))
        return kr_refuse(why, KR_E_CLOSED, 0);
    if (producer->has_role)
        return 0;
    if (kr_role_take(&producer->role, &producer->header->producer, why))
        return why->code;
    if (begin(producer)) {
        kr_role_release(&producer->role, KR_ROLE_CLOSED);
        return kr_refuse(why, KR_E_CORRUPT, 0);
    }
    producer->has_role = 1;
    producer->closed = 0;
    return 0;
}

int kr_producer_take(kr_producer *producer, kr_failure *why)
{
    if (!producer)
        return kr_refuse(why, KR_E_NOMEM, 0); /* of kr_producer_new() */
    if (kr_producer_is_foreign(producer))
        return kr_refuse(why, KR_E_FORKED, 0);
    kr_producer_lock(producer);
    return kr_producer_leave(producer, kr_producer_take_locked(producer, why));
}

int kr_producer_has_role(kr_producer *producer)
{
    if (kr_producer_is_foreign(producer))
        return producer->has_role;
    kr_producer_lock(producer);
    return kr_producer_leave(producer, producer->has_role);
}

/* 0, or how the consumer ended. It waits for the lock only briefly. */
int kr_producer_peer(kr_producer *producer, kr_role_info *out)
{
    kr_role_read(producer->peer.claim, out);
    if (kr_producer_is_foreign(producer))
        return KR_E_FORKED;
    kr_producer_lock(producer);
    return kr_producer_leave(producer, kr_producer_usable(producer));
}

/* A handle that saw its consumer end stays unusable. This makes it usable again if a successor has the role. Returns whether
 * the handle is usable, or KR_E_CLOSED or KR_E_FORKED. */
int kr_producer_accept_successor(kr_producer *producer)
{
    if (kr_producer_is_foreign(producer))
        return KR_E_FORKED;
    kr_producer_lock(producer);
    int ended = producer->gone == KR_E_PEER_CLOSED || producer->gone == KR_E_PEER_DEAD;
    if (ended && kr_peer_gone(&producer->peer) == 0)
        producer->gone = 0;
    return kr_producer_leave(producer, producer->closed ? KR_E_CLOSED : kr_producer_usable(producer) == 0);
}

int kr_producer_set_word(kr_producer *producer, uint32_t which, uint64_t value)
{
    if (kr_producer_is_foreign(producer))
        return KR_E_FORKED;
    if (which >= KR_WORDS)
        return KR_E_ARGUMENT;
    kr_producer_lock(producer);
    if (producer->closed)
        return kr_producer_leave(producer, KR_E_CLOSED);
    store_release(&producer->header->producer_words[which], value);
    return kr_producer_leave(producer, 0);
}

void kr_producer_close_locked(struct kr_producer *producer)
{
    if (producer->closed)
        return;
    if (!producer->gone)
        kr_producer_publish_locked(producer);
    KR_POINT(12);
    producer->closed = 1;
    producer->reserved = 0;
    kr_role_release(&producer->role, KR_ROLE_CLOSED);
    KR_POINT(13);
    kr_bell_ring(producer->data_bell);  /* the consumer: look at the claim. The words may belong to a successor by now */
    kr_bell_ring(producer->space_bell); /* other threads of this process that wait: look at `closed` */
}

/* Publishes the committed records and gives the role up. A handle that never had the role cannot take it any more. */
void kr_producer_close(kr_producer *producer)
{
    if (kr_producer_is_foreign(producer))
        return;
    kr_producer_lock(producer);
    producer->takes_none = !producer->has_role;
    kr_producer_close_locked(producer);
    kr_producer_unlock(producer);
}

void kr_producer_dispose(struct kr_producer *producer)
{
    kr_peer_forget(&producer->peer);
    pthread_mutex_destroy(&producer->lock);
    kr_map_close(producer->map);
}

void kr_producer_free(kr_producer *producer)
{
    if (!producer)
        return;
    kr_producer_close(producer);
    kr_producer_dispose(producer);
    free(producer);
}
