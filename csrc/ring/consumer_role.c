/* How a consumer begins and ends: the handle, its role, and the state of both. */
#include <stdlib.h>

#include "ring/ring.h"

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
    store_relaxed(&consumer->idle_at, KR_NOT_IDLE);
    kr_peer_init(&consumer->peer, &map->header->producer);
    kr_map_hold(map);
    return consumer;
}

static int take(struct kr_consumer *consumer, kr_failure *why)
{
    struct kr_header *header = consumer->header;
    if (consumer->takes_none || (consumer->has_role && consumer->closed))
        return kr_refuse(why, KR_E_CLOSED, 0);
    if (consumer->has_role)
        return 0;
    if (kr_role_take(&consumer->role, &header->consumer, why))
        return why->code;
    consumer->head = consumer->drained = load_acquire(&header->head);
    uint64_t tail = load_acquire(&header->tail);
    if (tail - consumer->head > consumer->capacity || (consumer->head & 7)) {
        kr_role_release(&consumer->role, KR_ROLE_CLOSED);
        return kr_refuse(why, KR_E_CORRUPT, 0);
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
    /* A predecessor may have left bytes in the FIFO, or taken them out: begin with a new request. */
    kr_consumer_arm(consumer);
    kr_bell_ring(consumer->space_bell); /* a waiting producer looks at its new peer */
    consumer->has_role = 1;
    consumer->closed = 0;
    return 0;
}

int kr_consumer_take(kr_consumer *consumer, kr_failure *why)
{
    if (!consumer)
        return kr_refuse(why, KR_E_NOMEM, 0); /* of kr_consumer_new() */
    if (kr_consumer_is_foreign(consumer))
        return kr_refuse(why, KR_E_FORKED, 0);
    pthread_mutex_lock(&consumer->lock);
    int refused = take(consumer, why);
    pthread_mutex_unlock(&consumer->lock);
    return refused;
}

void kr_consumer_close(kr_consumer *consumer)
{
    if (kr_consumer_is_foreign(consumer))
        return;
    pthread_mutex_lock(&consumer->lock);
    consumer->takes_none = !consumer->has_role;
    if (!consumer->closed) {
        consumer->closed = 1;
        kr_role_release(&consumer->role, KR_ROLE_CLOSED);
        kr_bell_ring(consumer->space_bell); /* the producer's pump: look at the claim */
        kr_bell_ring(consumer->data_bell);  /* another thread of this process that waits: look at `closed` */
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

/* The area was frozen for views that outlive their batch: continue with a new mapping of the same pages. */
void kr_consumer_rebase(kr_consumer *consumer, char *area) { consumer->data = area; }

/* 0, or how the producer ended, as soon as all its records are drained. A closed or inherited handle may ask too. */
int kr_consumer_peer(kr_consumer *consumer, kr_role_info *out)
{
    kr_role_read(consumer->peer.claim, out);
    if (kr_consumer_is_foreign(consumer))
        return KR_E_FORKED;
    int gone = kr_consumer_gone(consumer);
    if (!gone)
        return 0;
    pthread_mutex_lock(&consumer->lock);
    if (load_acquire(&consumer->header->tail) != consumer->drained)
        gone = 0;
    return kr_consumer_leave(consumer, gone);
}

/* Works on a corrupt ring too: the events before the fault were applied. */
int kr_consumer_set_word(kr_consumer *consumer, uint32_t which, uint64_t value)
{
    if (kr_consumer_is_foreign(consumer))
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
    if (kr_consumer_is_foreign(consumer))
        return 0;
    pthread_mutex_lock(&consumer->lock);
    *position = consumer->fault_position;
    return kr_consumer_leave(consumer, consumer->fault_field);
}
