/* The producer asleep: the request for space, the wait, and the descriptor for event loops. */
#include "ring.h"

/* Committed records that nobody can see take room that nobody can give back: when they stand in the way of what is
 * waited for, they are published now. */
static void show_what_is_in_the_way(struct kr_producer *producer, uint64_t wanted)
{
    if (producer->staged - producer->tail + wanted > producer->capacity)
        kr_producer_publish_locked(producer);
}

/* Asks to be woken when `wanted` bytes are free. Returns 1 when they are free already. */
int kr_producer_arm(struct kr_producer *producer, uint64_t wanted)
{
    struct kr_header *header = producer->header;
    store_relaxed(&header->space_wanted, producer->staged + wanted - producer->capacity);
    KR_POINT(19);
    store_seq_cst(&header->space_request, ++producer->space_request);
    KR_POINT(20);
    if (!kr_producer_believes(producer, load_seq_cst(&header->head)))
        return 1;
    return producer->capacity - (producer->staged - producer->head_cache) >= wanted;
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
        show_what_is_in_the_way(producer, wanted);
        int ready = kr_producer_room(producer, wanted) >= wanted;
        if (!ready) {
            kr_bell_clear(producer->space_bell); /* before the look in kr_producer_arm() */
            ready = kr_producer_arm(producer, wanted);
        }
        struct kr_watch watch = kr_peer_watch(&producer->peer);
        kr_producer_unlock(producer);
        if (ready)
            return KR_WAIT_READY;
        uint64_t now = kr_now_ns();
        if (now >= deadline)
            return KR_WAIT_TIMEOUT;
        int64_t left = timeout_ns < 0 ? -1 : (int64_t)(deadline - now);
        KR_POINT(21);
        /* Also after a slice without news: a signal just before the sleep did not interrupt it. */
        if (kr_bell_wait(producer->space_bell, watch, left) <= 0 && kr_now_ns() < deadline)
            return KR_WAIT_INTERRUPTED;
    }
}

/* A descriptor for selectors that becomes readable when `length` bytes fit or the consumer is gone. */
int kr_producer_wait_fd(kr_producer *producer, uint64_t length)
{
    if (producer->generation != kr_generation())
        return KR_E_FORKED;
    if (length > KR_LENGTH_MAX || kr_record_span(length) > producer->capacity)
        return KR_E_TOO_LARGE;
    kr_producer_lock(producer);
    if (producer->closed)
        return kr_producer_leave(producer, KR_E_CLOSED);
    int fd = kr_peer_descriptor(&producer->peer, producer->space_bell);
    if (!kr_producer_usable(producer))
        show_what_is_in_the_way(producer, kr_record_span(length));
    kr_bell_clear(producer->space_bell);
    if (kr_producer_usable(producer) || kr_producer_arm(producer, kr_record_span(length)))
        kr_bell_ring(producer->space_bell);
    return kr_producer_leave(producer, fd < 0 ? KR_E_SYSTEM : fd);
}
