/* All inboxes that this process sends into, for its end. It delivers their overflows within one deadline, and counts the
 * rest. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "inbox/inbox.h"

#define LOOK_NS 1000000 /* between two looks of kr_inboxes_flush(); the pumps work meanwhile */

/* Take `listing` before the lock of a sender, never under it. */
static pthread_mutex_t listing = PTHREAD_MUTEX_INITIALIZER;
static struct kr_sender *first;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* In a forked child: the inboxes belong to its parent, and a thread that the child does not have may hold the lock. */
static void forked_away(void)
{
    pthread_mutex_init(&listing, NULL);
    first = NULL;
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forked_away); }

void kr_inboxes_add(struct kr_sender *sender)
{
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&listing);
    sender->previous = NULL;
    sender->next = first;
    if (first)
        first->previous = sender;
    first = sender;
    pthread_mutex_unlock(&listing);
}

/* Call it before the sender is freed, so that the list holds only senders that exist. */
void kr_inboxes_remove(struct kr_sender *sender)
{
    if (kr_producer_is_foreign(&sender->producer))
        return;
    pthread_mutex_lock(&listing);
    if (sender->next)
        sender->next->previous = sender->previous;
    if (sender->previous)
        sender->previous->next = sender->next;
    else if (first == sender)
        first = sender->next;
    sender->next = sender->previous = NULL;
    pthread_mutex_unlock(&listing);
}

struct state {
    int has_work; /* its overflow has events that can still be delivered */
    int is_pumped, is_orphan;
};

/* If the sender has work and no pump, starts one if the system grants a thread. An orphan's pump replaces its user among
 * the owners. */
static struct state look_after(struct kr_sender *sender)
{
    kr_producer_lock(&sender->producer);
    int works = sender->overflow.events && !kr_producer_usable(&sender->producer);
    if (works && !sender->pump.running && !kr_pump_start(sender) && sender->is_orphan) {
        sender->is_orphan = 0;
        count_down32(&sender->owners);
    }
    struct state state = {works, sender->pump.running, sender->is_orphan};
    kr_producer_unlock(&sender->producer);
    return state;
}

/* Finds an orphan whose receiver is gone, so that its events cannot be delivered. The caller ends it. */
static struct kr_sender *hopeless(void)
{
    struct kr_sender *at;
    pthread_mutex_lock(&listing);
    for (at = first; at; at = at->next) {
        struct state state = look_after(at);
        if (state.is_orphan && !state.has_work)
            break;
    }
    if (at) {
        kr_producer_lock(&at->producer);
        at->is_orphan = 0;
        kr_producer_unlock(&at->producer);
    }
    pthread_mutex_unlock(&listing);
    return at;
}

/* Starts a pump for each orphan if the system grants a thread, and ends the orphans whose receiver is gone. */
void kr_inboxes_adopt(void)
{
    struct kr_sender *found;
    while ((found = hopeless())) {
        kr_sender_close(found);
        kr_sender_disown(found);
    }
}

static uint64_t look(void)
{
    uint64_t waiting = 0;
    pthread_mutex_lock(&listing);
    for (struct kr_sender *at = first; at; at = at->next) {
        struct state state = look_after(at);
        waiting += (uint64_t)state.has_work;
        if (state.has_work && !state.is_pumped)
            kr_pump(at, 0);
    }
    pthread_mutex_unlock(&listing);
    return waiting;
}

uint64_t kr_inboxes_flush(int64_t timeout_ns)
{
    uint64_t deadline = kr_now_ns() + (uint64_t)timeout_ns, waiting;
    while ((waiting = look()) && kr_now_ns() < deadline)
        if (nanosleep(&(struct timespec){0, LOOK_NS}, NULL))
            return waiting;
    return waiting;
}

uint64_t kr_inboxes_left(kr_left *out, uint64_t room)
{
    uint64_t count = 0;
    pthread_mutex_lock(&listing);
    for (struct kr_sender *at = first; at; at = at->next) {
        kr_producer_lock(&at->producer);
        uint64_t events = at->overflow.events;
        kr_producer_unlock(&at->producer);
        if (events && count++ < room) {
            out[count - 1].events = events;
            snprintf(out[count - 1].name, sizeof out[count - 1].name, "%s", at->producer.map->name);
        }
    }
    pthread_mutex_unlock(&listing);
    return count;
}

void kr_inboxes_close(void)
{
    pthread_mutex_lock(&listing);
    for (struct kr_sender *at = first; at; at = at->next)
        kr_sender_close(at);
    pthread_mutex_unlock(&listing);
}
