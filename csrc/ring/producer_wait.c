/* The producer asleep: the request for space, the wait, and the descriptor for event loops. */
#include "ring/ring.h"

/* The consumer cannot release committed records that it does not see. If they take room that the wait needs, publish them
 * now. */
static void publish_if_in_the_way(struct kr_producer *producer, uint64_t wanted)
{
    if (producer->staged - producer->tail + wanted > producer->capacity)
        kr_producer_publish_locked(producer);
}

/* The head position to be woken at: the first one at which any of the waiting threads has enough room. */
static uint64_t first_wanted(const struct kr_producer *producer, uint64_t wanted)
{
    uint64_t own = producer->staged + wanted - producer->capacity, others = load_relaxed(&producer->header->space_wanted);
    int others_wait = load_relaxed32(&producer->sleepers) && (int64_t)(others - producer->head_cache) > 0;
    return others_wait && (int64_t)(others - own) < 0 ? others : own;
}

/* Asks to be woken when `wanted` bytes are free. Returns 1 if they are free already: the caller emptied the FIFO before, so
 * then the threads that sleep must look too. */
int kr_producer_arm(struct kr_producer *producer, uint64_t wanted)
{
    struct kr_header *header = producer->header;
    store_relaxed(&header->space_wanted, first_wanted(producer, wanted));
    KR_POINT(19);
    store_seq_cst(&header->space_request, ++producer->space_request);
    KR_POINT(20);
    int ready = !kr_producer_believes(producer, load_seq_cst(&header->head)) ||
                producer->capacity - (producer->staged - producer->head_cache) >= wanted;
    if (ready && load_relaxed32(&producer->sleepers))
        kr_bell_ring(producer->space_bell);
    return ready;
}

/* Sleeps outside the lock. Returns as kr_bell_wait(). */
int kr_producer_sleep(struct kr_producer *producer, struct kr_watch watch, int64_t timeout_ns)
{
    int woken = kr_bell_wait(producer->space_bell, watch, timeout_ns);
    count_down32(&producer->sleepers);
    return woken;
}

int kr_producer_wait(kr_producer *producer, uint64_t length, int64_t timeout_ns)
{
    uint64_t wanted = kr_record_span(length);
    uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : kr_now_ns() + (uint64_t)timeout_ns;
    if (length > KR_LENGTH_MAX || wanted > producer->capacity)
        return KR_E_TOO_LARGE;
    for (;;) {
        int refused = kr_producer_enter(producer);
        if (refused)
            return refused == KR_E_PEER_CLOSED || refused == KR_E_PEER_DEAD ? KR_WAIT_GONE : refused;
        kr_peer_tick(&producer->peer);
        publish_if_in_the_way(producer, wanted);
        int ready = kr_producer_room(producer, wanted) >= wanted;
        if (!ready) {
            kr_bell_clear(producer->space_bell); /* before the look in kr_producer_arm() */
            ready = kr_producer_arm(producer, wanted);
        }
        struct kr_watch watch = kr_peer_watch(&producer->peer);
        uint64_t now = kr_now_ns();
        int sleeps = !ready && now < deadline;
        if (sleeps)
            count_up32(&producer->sleepers);
        kr_producer_unlock(producer);
        if (!sleeps)
            return ready ? KR_WAIT_READY : KR_WAIT_TIMEOUT;
        int64_t left = timeout_ns < 0 ? -1 : (int64_t)(deadline - now);
        KR_POINT(21);
        /* Also after a slice without news: a signal that came just before the sleep did not interrupt it. */
        if (kr_producer_sleep(producer, watch, left) <= 0 && kr_now_ns() < deadline)
            return KR_WAIT_INTERRUPTED;
    }
}

/* A descriptor for selectors. It becomes readable when `length` bytes fit or the consumer is gone. */
int kr_producer_wait_fd(kr_producer *producer, uint64_t length)
{
    if (kr_producer_is_foreign(producer))
        return KR_E_FORKED;
    if (length > KR_LENGTH_MAX || kr_record_span(length) > producer->capacity)
        return KR_E_TOO_LARGE;
    kr_producer_lock(producer);
    if (producer->closed)
        return kr_producer_leave(producer, KR_E_CLOSED);
    int fd = kr_peer_descriptor(&producer->peer, producer->space_bell);
    if (!kr_producer_usable(producer))
        publish_if_in_the_way(producer, kr_record_span(length));
    kr_bell_clear(producer->space_bell);
    if (kr_producer_usable(producer) || kr_producer_arm(producer, kr_record_span(length)))
        kr_bell_ring(producer->space_bell);
    return kr_producer_leave(producer, fd < 0 ? KR_E_SYSTEM : fd);
}
