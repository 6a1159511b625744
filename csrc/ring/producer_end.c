/* How a producer ends: closed by its user, or dropped by it with events in the overflow, which its pump still delivers. */
#include <stdlib.h>
#include <unistd.h>

#include "ring/ring.h"

static int foreign(const struct kr_producer *producer) { return producer->generation != kr_generation(); }

/* Gives the role up. Returns how many events of the overflow are lost. */
uint64_t kr_producer_close_locked(struct kr_producer *producer)
{
    if (producer->closed)
        return 0;
    uint64_t lost = producer->overflow.events;
    if (!producer->gone)
        kr_producer_publish_locked(producer);
    KR_POINT(12);
    producer->closed = 1;
    producer->reserved = 0;
    kr_overflow_free(&producer->overflow);
    kr_overflow_publish_gauges(producer);
    kr_role_release(&producer->role, KR_ROLE_CLOSED);
    KR_POINT(13);
    kr_bell_ring(producer->data_bell);  /* the consumer: look at the claim. The words may be a successor's by now */
    kr_bell_ring(producer->space_bell); /* our own pump or waiter: look at `closed` */
    kr_overflow_ended(producer);
    if (producer->pump.flushed_fd >= 0)
        close(producer->pump.flushed_fd);
    producer->pump.flushed_fd = -1;
    return lost;
}

uint64_t kr_producer_close(kr_producer *producer)
{
    if (foreign(producer))
        return 0;
    kr_producer_lock(producer);
    producer->takes_none = !producer->has_role;
    uint64_t lost = kr_producer_close_locked(producer);
    kr_producer_unlock(producer);
    return lost;
}

/* Whether its overflow holds what can still be delivered. */
static int has_work(struct kr_producer *producer)
{
    return producer->pump.starts_itself && producer->overflow.events && !kr_producer_usable(producer);
}

/* Closed now, or by the pump when the overflow is empty: 1, 0. */
int kr_producer_close_when_drained(kr_producer *producer)
{
    if (foreign(producer))
        return 1;
    kr_producer_lock(producer);
    producer->reserved = 0; /* the handle is gone, and its grant too: the pump must not wait for it */
    int waits = has_work(producer);
    if (waits) {
        producer->closes_when_drained = 1;
        kr_bell_ring(producer->space_bell);
        if (!producer->pump.running)
            kr_pump_start(producer);
    } else {
        kr_producer_close_locked(producer);
    }
    kr_producer_unlock(producer);
    return !waits;
}

static void dispose(struct kr_producer *producer)
{
    kr_inboxes_remove(producer);
    kr_peer_forget(&producer->peer);
    kr_overflow_free(&producer->overflow);
    pthread_mutex_destroy(&producer->lock);
    if (producer->pump.starts_itself)
        kr_area_free(producer->data);
    kr_map_close(producer->map);
    free(producer);
}

/* One of its owners, its user or its pump, has done with it. */
void kr_producer_disown(struct kr_producer *producer)
{
    if (count_down32(&producer->owners) == 0)
        dispose(producer);
}

void kr_producer_free(kr_producer *producer)
{
    if (!producer)
        return;
    if (foreign(producer)) { /* the pump did not come through the fork */
        dispose(producer);
        return;
    }
    if (!kr_producer_close_when_drained(producer)) {
        kr_producer_lock(producer);
        /* Without a pump it stays as it is until there is a thread to be had, at the latest until the process ends. */
        producer->is_orphan = !producer->pump.running && !producer->closed;
        int is_orphan = producer->is_orphan;
        kr_producer_unlock(producer);
        if (is_orphan)
            return;
    }
    kr_producer_disown(producer);
}

/* The next writes go to another mapping of the same pages. */
int kr_producer_rebase(kr_producer *producer, char *area)
{
    if (foreign(producer))
        return KR_E_FORKED;
    kr_area_hold(area);
    kr_producer_lock(producer);
    char *before = producer->data;
    producer->data = area;
    kr_producer_unlock(producer);
    kr_area_free(before);
    return 0;
}
