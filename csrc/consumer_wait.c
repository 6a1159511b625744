/* The consumer asleep: the request for a wake-up, the wait, and the descriptor for event loops. */
#include "ring.h"

#if defined(__x86_64__) || defined(__i386__)
#define relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define relax() __asm__ volatile("yield")
#else
#define relax() ((void)0)
#endif

static void ring_self(struct kr_consumer *consumer)
{
    if (!consumer->rung_by_self) {
        consumer->rung_by_self = 1;
        kr_bell_ring(consumer->data_bell);
    }
}

/* Before every sleep, and before the look at tail that follows: empties the FIFO and raises the request. Always both:
 * a byte that goes away may be one that the producer has written and not yet noted as the answer to the old request,
 * and then only a new request makes it ring again. And whatever stood in the FIFO, no sleep ends twice for it. */
void kr_consumer_arm(struct kr_consumer *consumer)
{
    kr_bell_clear(consumer->data_bell);
    consumer->rung_by_self = 0;
    store_seq_cst(&consumer->header->data_request, ++consumer->data_request);
}

/* Keeps a watched descriptor honest after a drain: readable exactly when there is something to see. */
void kr_consumer_tend(struct kr_consumer *consumer, uint64_t end, uint64_t tail)
{
    struct kr_header *header = consumer->header;
    if (end != tail) {
        /* Pairs with the release store in ring_data_bell(): the request honoured, its byte is in the FIFO. */
        if (load_acquire(&header->data_reply) != consumer->data_request)
            ring_self(consumer);
        return;
    }
    kr_peer_look(&consumer->peer);
    int gone = kr_peer_gone(&consumer->peer) != 0;
    if (!(gone && consumer->rung_by_self))
        kr_consumer_arm(consumer);
    if (gone || load_seq_cst(&header->tail) != end)
        ring_self(consumer);
}

static int look(struct kr_consumer *consumer)
{
    int gone = kr_peer_gone(&consumer->peer);
    /* After the claim: what a peer published before it went is visible now. */
    if (load_seq_cst(&consumer->header->tail) != consumer->drained)
        return KR_WAIT_READY;
    return gone ? KR_WAIT_GONE : KR_WAIT_TIMEOUT;
}

static int spin(struct kr_consumer *consumer, uint64_t drained, int64_t spin_ns)
{
    uint64_t until = kr_now_ns() + (uint64_t)spin_ns;
    do {
        for (int i = 0; i < 64; i++) {
            if (load_acquire(&consumer->header->tail) != drained)
                return 1;
            relax();
        }
    } while (kr_now_ns() < until);
    return 0;
}

int kr_consumer_wait(kr_consumer *consumer, int64_t timeout_ns, int64_t spin_ns)
{
    int refused = kr_consumer_enter(consumer);
    if (refused)
        return refused;
    int found = look(consumer);
    uint64_t drained = consumer->drained;
    kr_consumer_leave(consumer, 0);
    if (found || timeout_ns == 0)
        return found;
    uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : kr_now_ns() + (uint64_t)timeout_ns;
    if (spin_ns > 0 && spin(consumer, drained, timeout_ns > 0 && timeout_ns < spin_ns ? timeout_ns : spin_ns))
        return KR_WAIT_READY;
    for (;;) {
        if ((refused = kr_consumer_enter(consumer)))
            return refused;
        kr_consumer_arm(consumer);
        found = look(consumer);
        if (found && consumer->peer.wait_fd >= 0)
            ring_self(consumer); /* the FIFO was emptied, but there is something to see */
        struct kr_watch watch = kr_peer_watch(&consumer->peer);
        kr_consumer_leave(consumer, 0);
        if (found)
            return found;
        uint64_t now = kr_now_ns();
        if (now >= deadline)
            return KR_WAIT_TIMEOUT;
        int64_t left = timeout_ns < 0 ? -1 : (int64_t)(deadline - now);
        /* Also after a slice without news: a signal just before the sleep did not interrupt it. */
        if (kr_bell_wait(consumer->data_bell, watch, left) <= 0 && kr_now_ns() < deadline)
            return KR_WAIT_INTERRUPTED;
    }
}

int kr_consumer_wait_fd(kr_consumer *consumer)
{
    int refused = kr_consumer_enter(consumer);
    if (refused)
        return refused;
    int fd = kr_peer_descriptor(&consumer->peer, consumer->data_bell);
    if (fd >= 0)
        kr_consumer_tend(consumer, consumer->drained, load_acquire(&consumer->header->tail));
    return kr_consumer_leave(consumer, fd < 0 ? KR_E_SYSTEM : fd);
}
