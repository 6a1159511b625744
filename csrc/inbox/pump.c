/* The pump: a thread of the core that moves the overflow into the ring while the overflow is not empty. The send that
 * overflows starts it under its lock, so that no accepted event depends on a later call.
 * And the waits for it: a flush, a watch of the marks, a descriptor for event loops. */
#define _GNU_SOURCE
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "inbox/inbox.h"

static void *run(void *argument)
{
    struct kr_sender *sender = argument;
    prctl(PR_SET_NAME, "kevy-ring-pump");
    while (kr_pump_of_thread(sender) == KR_PUMP_AGAIN)
        ;
    kr_sender_disown(sender);
    return NULL;
}

/* Under the lock, if no pump is running. 0, or the errno with which the system refused a thread. */
int kr_pump_start(struct kr_sender *sender)
{
    pthread_t thread;
    count_up32(&sender->owners);
    int failed = kr_thread_start(&thread, run, sender);
    if (failed) {
        count_down32(&sender->owners); /* the user is still one */
        return failed;
    }
    pthread_detach(thread);
    sender->pump.running = 1;
    return 0;
}

/* ------------------------------------------------------------------------------------ reports to waiters, under the lock */

static void tell(struct kr_sender *sender)
{
    struct kr_pump *pump = &sender->pump;
    count_up32(&pump->news); /* the lock orders it: listeners look and count themselves under it */
    if (load_relaxed32(&pump->listeners))
        kr_futex_wake(&pump->news);
}

static void show_flushed(const struct kr_pump *pump, int is_flushed)
{
    eventfd_t counted;
    if (pump->flushed_fd >= 0 && (is_flushed ? eventfd_write(pump->flushed_fd, 1) : eventfd_read(pump->flushed_fd, &counted)))
        return; /* it was in that state already, or the application closed it */
}

/* Events were appended. Returns the bits of the send's answer besides KR_SEND_OVERFLOW. */
int kr_overflow_waits(struct kr_sender *sender)
{
    struct kr_overflow *overflow = &sender->overflow;
    struct kr_pump *pump = &sender->pump;
    int answer = 0;
    if (overflow->high && !(overflow->crossed & 1) && overflow->bytes >= overflow->high) {
        overflow->crossed++;
        tell(sender);
    }
    show_flushed(pump, 0);
    if (!pump->by_hand && !pump->running && !sender->producer.gone && kr_pump_start(sender) && !pump->was_refused) {
        pump->was_refused = 1;
        answer = KR_SEND_NO_THREAD;
    }
    return answer;
}

/* Events were moved. */
void kr_overflow_fell(struct kr_sender *sender)
{
    struct kr_overflow *overflow = &sender->overflow;
    if (overflow->crossed & 1 && overflow->bytes <= overflow->low) {
        overflow->crossed++;
        tell(sender);
    }
}

/* The overflow is empty, or cannot be moved any more. */
void kr_overflow_ended(struct kr_sender *sender)
{
    show_flushed(&sender->pump, 1);
    tell(sender);
}

/* ---------------------------------------------------------------------------------------------------------------- waits */

/* Unlocks, and sleeps until there is news, a signal comes, or `timeout_ns` have passed. */
static void listen_unlocked(struct kr_sender *sender, int64_t timeout_ns)
{
    struct kr_pump *pump = &sender->pump;
    uint32_t seen = load_relaxed32(&pump->news);
    count_up32(&pump->listeners);
    kr_producer_unlock(&sender->producer);
    kr_futex_wait(&pump->news, seen, timeout_ns);
    count_down32(&pump->listeners);
}

/* Waits until the overflow is empty (KR_WAIT_READY) or cannot be moved (KR_WAIT_GONE). After one sleep of at most
 * `timeout_ns`, which a signal ends early, it returns KR_WAIT_TIMEOUT: call it again. Without a pump it moves the overflow
 * itself. */
int kr_flush(kr_sender *sender, int64_t timeout_ns)
{
    uint64_t deadline = kr_now_ns() + (uint64_t)timeout_ns;
    if (kr_producer_is_foreign(&sender->producer))
        return KR_E_FORKED;
    for (int slept = 0;; slept = 1) {
        struct kr_pump *pump = &sender->pump;
        kr_producer_lock(&sender->producer);
        int left = sender->overflow.events != 0, refused = left ? kr_producer_usable(&sender->producer) : 0;
        if (!left || refused || slept) {
            kr_producer_unlock(&sender->producer);
            return !left ? KR_WAIT_READY : refused ? KR_WAIT_GONE : KR_WAIT_TIMEOUT;
        }
        int by_hand = !pump->running && (pump->by_hand || kr_pump_start(sender));
        uint64_t now = kr_now_ns();
        int64_t wait_ns = now < deadline ? (int64_t)(deadline - now) : 0;
        if (!by_hand && wait_ns) {
            listen_unlocked(sender, wait_ns);
            continue;
        }
        kr_producer_unlock(&sender->producer);
        if (by_hand)
            kr_pump(sender, wait_ns);
    }
}

/* A descriptor that is readable while the overflow is empty or cannot be moved. It is closed with the producer. */
int kr_flushed_fd(kr_sender *sender)
{
    struct kr_pump *pump = &sender->pump;
    if (kr_producer_is_foreign(&sender->producer))
        return KR_E_FORKED;
    kr_producer_lock(&sender->producer);
    if (sender->producer.closed)
        return kr_producer_leave(&sender->producer, KR_E_CLOSED);
    if (pump->flushed_fd < 0) {
        pump->flushed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        show_flushed(pump, !sender->overflow.events || kr_producer_usable(&sender->producer));
    }
    return kr_producer_leave(&sender->producer, pump->flushed_fd < 0 ? KR_E_SYSTEM : pump->flushed_fd);
}

/* Sets new marks (none if `high` is 0), and drops earlier crossings. Returns the number of this watch, above 0. */
int64_t kr_overflow_marks(kr_sender *sender, uint64_t high, uint64_t low)
{
    struct kr_overflow *overflow = &sender->overflow;
    if (kr_producer_is_foreign(&sender->producer))
        return KR_E_FORKED;
    kr_producer_lock(&sender->producer);
    overflow->high = high;
    overflow->low = low;
    overflow->crossed = overflow->told = 0;
    uint64_t watch = ++overflow->watches;
    tell(sender);
    kr_producer_unlock(&sender->producer);
    return (int64_t)watch;
}

/* The next crossing of a mark of this watch that was not reported yet: each once, in order. KR_MARK_NONE after one sleep of
 * at most `timeout_ns` without one. */
int kr_overflow_next_mark(kr_sender *sender, int64_t watch, int64_t timeout_ns)
{
    struct kr_overflow *overflow = &sender->overflow;
    if (kr_producer_is_foreign(&sender->producer))
        return KR_E_FORKED;
    for (int slept = 0;; slept = 1) {
        kr_producer_lock(&sender->producer);
        if (sender->producer.closed)
            return kr_producer_leave(&sender->producer, KR_E_CLOSED);
        if (!overflow->high || overflow->watches != (uint64_t)watch)
            return kr_producer_leave(&sender->producer, KR_MARK_END);
        if (overflow->told != overflow->crossed)
            return kr_producer_leave(&sender->producer, ++overflow->told & 1 ? KR_MARK_HIGH : KR_MARK_LOW);
        if (slept || !timeout_ns)
            return kr_producer_leave(&sender->producer, KR_MARK_NONE);
        listen_unlocked(sender, timeout_ns);
    }
}
