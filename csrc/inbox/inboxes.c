/* All inboxes that this process sends into, for its end: what they hold is delivered within one deadline, or counted. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ring/ring.h"

#define LOOK_NS 1000000 /* between two looks at the end of a process; the pumps do the work meanwhile */

/* `listing` is taken before the lock of a producer, never under it. */
static pthread_mutex_t listing = PTHREAD_MUTEX_INITIALIZER;
static struct kr_producer *first;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

/* In a child: the inboxes are its parent's, and the lock may be held by a thread that the child does not have. */
static void forked_away(void)
{
    pthread_mutex_init(&listing, NULL);
    first = NULL;
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forked_away); }

void kr_inboxes_add(struct kr_producer *producer)
{
    pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&listing);
    producer->previous = NULL;
    producer->next = first;
    if (first)
        first->previous = producer;
    first = producer;
    pthread_mutex_unlock(&listing);
}

/* Called before its memory goes: who looks through the list finds only what exists. */
void kr_inboxes_remove(struct kr_producer *producer)
{
    if (producer->generation != kr_generation())
        return;
    pthread_mutex_lock(&listing);
    if (producer->next)
        producer->next->previous = producer->previous;
    if (producer->previous)
        producer->previous->next = producer->next;
    else if (first == producer)
        first = producer->next;
    producer->next = producer->previous = NULL;
    pthread_mutex_unlock(&listing);
}

struct state {
    int has_work; /* it holds events that can still be delivered */
    int is_pumped, is_orphan;
};

/* With work its pump runs, or is started if there is a thread to be had. An orphan's pump takes its user's place among the
 * owners. */
static struct state look_after(struct kr_producer *producer)
{
    kr_producer_lock(producer);
    int works = producer->overflow.events && !kr_producer_usable(producer);
    if (works && !producer->pump.running && !kr_pump_start(producer) && producer->is_orphan) {
        producer->is_orphan = 0;
        count_down32(&producer->owners);
    }
    struct state state = {works, producer->pump.running, producer->is_orphan};
    kr_producer_unlock(producer);
    return state;
}

/* The receiver of this orphan is gone, so its events cannot be delivered. Take it off the list. */
static struct kr_producer *hopeless(void)
{
    struct kr_producer *at;
    pthread_mutex_lock(&listing);
    for (at = first; at; at = at->next) {
        struct state state = look_after(at);
        if (state.is_orphan && !state.has_work)
            break;
    }
    if (at) {
        kr_producer_lock(at);
        at->is_orphan = 0;
        kr_producer_unlock(at);
    }
    pthread_mutex_unlock(&listing);
    return at;
}

/* Orphans get their pump as soon as there is a thread to be had, and end when their receiver is gone. */
void kr_inboxes_adopt(void)
{
    struct kr_producer *found;
    while ((found = hopeless())) {
        kr_producer_close(found);
        kr_producer_disown(found);
    }
}

static uint64_t look(void)
{
    uint64_t waiting = 0;
    pthread_mutex_lock(&listing);
    for (struct kr_producer *at = first; at; at = at->next) {
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
    for (struct kr_producer *at = first; at; at = at->next) {
        kr_producer_lock(at);
        uint64_t events = at->overflow.events;
        kr_producer_unlock(at);
        if (events && count++ < room) {
            out[count - 1].events = events;
            snprintf(out[count - 1].name, sizeof out[count - 1].name, "%s", at->map->name);
        }
    }
    pthread_mutex_unlock(&listing);
    return count;
}

void kr_inboxes_close(void)
{
    pthread_mutex_lock(&listing);
    for (struct kr_producer *at = first; at; at = at->next)
        kr_producer_close(at);
    pthread_mutex_unlock(&listing);
}
