/* The consumer asleep: the request for a wake-up, the wait, and the descriptor for event loops. */
#include "ring/ring.h"

#if defined(__x86_64__) || defined(__i386__)
#define relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define relax() __asm__ volatile("yield")
#else
#define relax() ((void)0)
#endif

#define LEAST_WINDOW_NS 1000u /* a shorter window costs more time for the clock than it can save */

static void ring_self(struct kr_consumer *consumer)
{
    if (!consumer->rung_by_self) {
        consumer->rung_by_self = 1;
        kr_bell_ring(consumer->data_bell);
    }
}

/* Empties the FIFO and raises the request, before the look at tail that precedes a sleep. Always both: the producer may have
 * written the byte and not yet noted it as the answer to the old request. Then only a new request makes it ring again. No
 * byte in the FIFO ends two sleeps. */
void kr_consumer_arm(struct kr_consumer *consumer)
{
    kr_bell_clear(consumer->data_bell);
    KR_POINT(28);
    consumer->rung_by_self = 0;
    store_seq_cst(&consumer->header->data_request, ++consumer->data_request);
    KR_POINT(29);
}

/* Keeps a watched descriptor true after a drain: readable exactly if there is news. */
void kr_consumer_tend(struct kr_consumer *consumer, uint64_t end, uint64_t tail)
{
    struct kr_header *header = consumer->header;
    if (end != tail) {
        /* Pairs with the release store in kr_producer_ring_data_bell(): if the request is honoured, its byte is in the FIFO. */
        if (load_acquire(&header->data_reply) != consumer->data_request)
            ring_self(consumer);
        return;
    }
    kr_peer_look(&consumer->peer);
    kr_peer_tick(&consumer->peer);
    int gone = kr_consumer_gone(consumer) != 0;
    if (!(gone && consumer->rung_by_self))
        kr_consumer_arm(consumer);
    if (gone || load_seq_cst(&header->tail) != end)
        ring_self(consumer);
}

static int look(struct kr_consumer *consumer)
{
    int gone = kr_consumer_gone(consumer);
    /* After the claim: all that a peer published before its end is visible now. */
    if (load_seq_cst(&consumer->header->tail) != consumer->drained)
        return KR_WAIT_READY;
    return gone ? KR_WAIT_GONE : KR_WAIT_TIMEOUT;
}

/* How long a wait looks at tail before it sleeps: the caller's bound, halved for every spin that found nothing since the
 * last one that did. So rare events cost no spinning after the first few, and a wait for an answer that comes at once
 * always stays awake. Threads change the number without a lock: one halving more or less does no harm. */
static uint64_t spin_window(const struct kr_consumer *consumer, uint64_t bound_ns)
{
    uint64_t halvings = load_relaxed(&consumer->spin_halvings);
    uint64_t window_ns = halvings < 64 ? bound_ns >> halvings : 0;
    return halvings && window_ns < LEAST_WINDOW_NS ? 0 : window_ns;
}

static int spin(struct kr_consumer *consumer, uint64_t drained, uint64_t began, uint64_t window_ns)
{
    do {
        for (int i = 0; i < 64; i++) {
            if (load_acquire(&consumer->header->tail) != drained)
                return 1;
            relax();
        }
    } while (kr_now_ns() - began < window_ns);
    return 0;
}

/* Whether a record came during the spin. A spin lasts at most as long as the wait may. One that is cut short counts as one
 * that found nothing; otherwise a caller that waits in short steps would spin all the time. */
static int came_in_time(struct kr_consumer *consumer, uint64_t drained, uint64_t began, int64_t timeout_ns, int64_t bound_ns)
{
    uint64_t window_ns = bound_ns > 0 ? spin_window(consumer, (uint64_t)bound_ns) : 0;
    if (!window_ns)
        return 0;
    store_relaxed(&consumer->spins, load_relaxed(&consumer->spins) + 1);
    if (timeout_ns >= 0 && (uint64_t)timeout_ns < window_ns)
        window_ns = (uint64_t)timeout_ns;
    int found = spin(consumer, drained, began, window_ns);
    store_relaxed(&consumer->spin_halvings, found ? 0 : load_relaxed(&consumer->spin_halvings) + 1);
    return found;
}

/* The bell ended a sleep. If the sleep was short, it consisted of two wake-ups, the peer's and this one. If both sides had
 * spun for their whole windows, neither would have slept. So the window is whole again. */
static void slept(struct kr_consumer *consumer, uint64_t asleep, int64_t bound_ns)
{
    if (bound_ns > 0 && (kr_now_ns() - asleep) / 2 < (uint64_t)bound_ns)
        store_relaxed(&consumer->spin_halvings, 0);
}

int kr_consumer_wait(kr_consumer *consumer, int64_t timeout_ns, int64_t spin_ns)
{
    int refused = kr_consumer_enter(consumer);
    if (refused)
        return refused;
    kr_peer_tick(&consumer->peer);
    int found = look(consumer);
    uint64_t drained = consumer->drained;
    kr_consumer_leave(consumer, 0);
    if (found || timeout_ns == 0)
        return found;
    uint64_t now = kr_now_ns(), asleep = 0;
    uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : now + (uint64_t)timeout_ns;
    if (came_in_time(consumer, drained, now, timeout_ns, spin_ns))
        return KR_WAIT_READY;
    for (;;) {
        if ((refused = kr_consumer_enter(consumer)))
            return refused;
        /* After a sleep, if there is news: raise no new request. So nothing rings while this side works, and the byte stays
         * in the FIFO until the next sleep removes it, together with a new request. A watched descriptor must stay
         * readable, even if another thread emptied the FIFO meanwhile: then arm in any case. */
        found = asleep && consumer->peer.wait_fd < 0 ? look(consumer) : KR_WAIT_TIMEOUT;
        if (!found) {
            kr_consumer_arm(consumer);
            found = look(consumer);
            if (found && (consumer->peer.wait_fd >= 0 || load_relaxed32(&consumer->sleepers)))
                ring_self(consumer); /* the FIFO was emptied, but there is news, for other threads too */
        }
        struct kr_watch watch = kr_peer_watch(&consumer->peer);
        now = kr_now_ns();
        int sleeps = !found && now < deadline;
        if (sleeps)
            count_up32(&consumer->sleepers);
        kr_consumer_leave(consumer, 0);
        if (found == KR_WAIT_READY && asleep)
            slept(consumer, asleep, spin_ns);
        if (!sleeps)
            return found; /* nothing found is KR_WAIT_TIMEOUT */
        asleep = now;
        int64_t left = timeout_ns < 0 ? -1 : (int64_t)(deadline - now);
        KR_POINT(30);
        int woken = kr_bell_wait(consumer->data_bell, watch, left);
        count_down32(&consumer->sleepers);
        /* Also after a slice without news: a signal that came just before the sleep did not interrupt it. */
        if (woken <= 0 && kr_now_ns() < deadline)
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

/* Passes over the end of the producer whose claim has this epoch: the ring then waits for a successor, and its descriptor
 * is readable for the news of a successor only. Does nothing for another epoch. */
int kr_consumer_pass_end(kr_consumer *consumer, uint64_t epoch)
{
    int refused = kr_consumer_enter(consumer);
    if (refused)
        return refused;
    if (kr_peer_gone(&consumer->peer) && load_acquire(&consumer->peer.claim->epoch) == epoch) {
        store_relaxed(&consumer->passed_epoch, epoch);
        kr_peer_pass(&consumer->peer, epoch);
        if (consumer->peer.wait_fd >= 0)
            kr_consumer_tend(consumer, consumer->drained, load_acquire(&consumer->header->tail));
    }
    return kr_consumer_leave(consumer, 0);
}
