/* How a sender begins and ends. It ends when its user closes it. If its user drops it with events in the overflow, the pump
 * still delivers them and then ends it. */
#include <stdlib.h>
#include <unistd.h>

#include "inbox/inbox.h"

kr_sender *kr_sender_new(kr_map *map, char *area)
{
    struct kr_sender *sender = calloc(1, sizeof *sender);
    if (!sender)
        return NULL;
    kr_producer_init(&sender->producer, map, area);
    kr_area_hold(area); /* the handle may be gone before its overflow is empty */
    sender->owners = 1;
    sender->pump.flushed_fd = -1;
    return sender;
}

kr_producer *kr_sender_producer(kr_sender *sender) { return &sender->producer; }

/* The role was just taken. Only the published snapshots of a predecessor count: its overflow ended with it. */
static void begin(struct kr_sender *sender)
{
    kr_overflow_publish_gauges(sender);
    sender->snapshots_ended = sender->producer.note.words[NOTE_FLAGS] / KR_RESUME_SNAPSHOT;
    store_release(&sender->producer.header->producer_words[WORD_SNAPSHOTS_ENDED], sender->snapshots_ended);
}

int kr_sender_take(kr_sender *sender, kr_failure *why)
{
    if (!sender || kr_producer_is_foreign(&sender->producer))
        return why->code = sender ? KR_E_FORKED : KR_E_NOMEM; /* kr_sender_new() had no memory */
    struct kr_producer *producer = &sender->producer;
    kr_inboxes_adopt();
    kr_producer_lock(producer);
    int had_role = producer->has_role, refused = kr_producer_take_locked(producer, why), begins = !refused && !had_role;
    if (begins)
        begin(sender);
    kr_producer_unlock(producer);
    if (begins && !sender->pump.by_hand)
        kr_inboxes_add(sender);
    return refused;
}

/* Gives up the role, and the events of the overflow. */
void kr_sender_close_locked(struct kr_sender *sender)
{
    if (sender->producer.closed)
        return;
    kr_overflow_free(&sender->overflow);
    kr_overflow_publish_gauges(sender); /* while the words are still this sender's */
    kr_producer_close_locked(&sender->producer);
    kr_overflow_ended(sender);
    if (sender->pump.flushed_fd >= 0)
        close(sender->pump.flushed_fd);
    sender->pump.flushed_fd = -1;
}

/* Returns how many events of the overflow are lost. */
uint64_t kr_sender_close(kr_sender *sender)
{
    struct kr_producer *producer = &sender->producer;
    if (kr_producer_is_foreign(producer))
        return 0;
    kr_producer_lock(producer);
    producer->takes_none = !producer->has_role;
    uint64_t lost = sender->overflow.events;
    kr_sender_close_locked(sender);
    kr_producer_unlock(producer);
    return lost;
}

/* Whether its overflow has events that can still be delivered. */
static int has_work(struct kr_sender *sender)
{
    return !sender->pump.by_hand && sender->overflow.events && !kr_producer_usable(&sender->producer);
}

/* 1: closed now. 0: the pump will close it when the overflow is empty. */
int kr_sender_close_when_drained(kr_sender *sender)
{
    struct kr_producer *producer = &sender->producer;
    if (kr_producer_is_foreign(producer))
        return 1;
    kr_producer_lock(producer);
    producer->reserved = 0; /* the handle and its grant are gone: the pump must not wait for them */
    int waits = has_work(sender);
    if (waits) {
        sender->closes_when_drained = 1;
        kr_bell_ring(producer->space_bell);
        if (!sender->pump.running)
            kr_pump_start(sender);
    } else {
        kr_sender_close_locked(sender);
    }
    kr_producer_unlock(producer);
    return !waits;
}

static void dispose(struct kr_sender *sender)
{
    kr_inboxes_remove(sender);
    kr_overflow_free(&sender->overflow);
    if (sender->pump.flushed_fd >= 0) /* still open in a child, which does not close the role */
        close(sender->pump.flushed_fd);
    kr_area_free(sender->producer.data);
    kr_producer_dispose(&sender->producer);
    free(sender);
}

/* One of its owners, its user or its pump, does not need it any more. */
void kr_sender_disown(struct kr_sender *sender)
{
    if (count_down32(&sender->owners) == 0)
        dispose(sender);
}

void kr_sender_free(kr_sender *sender)
{
    if (!sender)
        return;
    if (kr_producer_is_foreign(&sender->producer)) { /* the child has no pump */
        dispose(sender);
        return;
    }
    if (!kr_sender_close_when_drained(sender)) {
        kr_producer_lock(&sender->producer);
        /* Without a pump it stays as it is until the system grants a thread, at the latest until the process ends. */
        sender->is_orphan = !sender->pump.running && !sender->producer.closed;
        int is_orphan = sender->is_orphan;
        kr_producer_unlock(&sender->producer);
        if (is_orphan)
            return;
    }
    kr_sender_disown(sender);
}

/* Makes the next writes go to another mapping of the same pages. */
int kr_sender_rebase(kr_sender *sender, char *area)
{
    struct kr_producer *producer = &sender->producer;
    if (kr_producer_is_foreign(producer))
        return KR_E_FORKED;
    kr_area_hold(area);
    kr_producer_lock(producer);
    char *before = producer->data;
    producer->data = area;
    kr_producer_unlock(producer);
    kr_area_free(before);
    return 0;
}
