/* How this side watches the other side's process while it sleeps: with a pidfd, and for event loops with one descriptor
 * over the doorbell, the pidfd and a timer. All under the lock of the handle that owns the peer.
 *
 * The word of the claim is the truth. The pidfd only ends a sleep early, and it cannot always do that. In another pid
 * namespace the claim's pid means another process, or none. After exec() the process lives on while the role is dead, and
 * no pidfd reports it. So this side looks at the word in slices too: every second with a pidfd, more often without one. */
#define _GNU_SOURCE
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "ring/ring.h"

void kr_peer_init(struct kr_peer *peer, struct kr_claim *claim)
{
    peer->claim = claim;
    peer->epoch = 0;
    peer->pidfd = -1;
    peer->wait_fd = -1;
    peer->timer_fd = -1;
    peer->blind = 0;
}

static void let_go(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void kr_peer_forget(struct kr_peer *peer)
{
    let_go(&peer->pidfd);
    let_go(&peer->wait_fd);
    let_go(&peer->timer_fd);
}

static int watch(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void drop_pidfd(struct kr_peer *peer)
{
    if (peer->pidfd < 0)
        return;
    /* Explicitly: close() does not take it out of the set while a forked child has a copy of it. */
    if (peer->wait_fd >= 0)
        epoll_ctl(peer->wait_fd, EPOLL_CTL_DEL, peer->pidfd, NULL);
    let_go(&peer->pidfd);
}

/* The holder of this epoch has ended, and this is known: stop watching its process. */
void kr_peer_pass(struct kr_peer *peer, uint64_t epoch)
{
    kr_peer_look(peer);
    if (peer->epoch == epoch) /* else the pidfd is a successor's */
        drop_pidfd(peer);
}

/* Sets the time of an event loop's next look at the word. The timer is not readable until then. */
static void set_timer(struct kr_peer *peer)
{
    int64_t slice_ns = peer->blind ? KR_BLIND_TICK_NS : KR_POLL_SLICE_NS;
    struct itimerspec once = {.it_value = {slice_ns / 1000000000, slice_ns % 1000000000}};
    if (peer->timer_fd < 0)
        return;
    peer->tick_ns = kr_now_ns() + (uint64_t)slice_ns;
    timerfd_settime(peer->timer_fd, 0, &once, NULL);
}

static int is_this_process(uint32_t pid, uint64_t start)
{
    uint64_t own;
    return pid == (uint32_t)getpid() && !kr_own_start(&own) && own == start;
}

/* Makes the pidfd that of the present holder, or -1 if there is none or it is this process itself. */
void kr_peer_look(struct kr_peer *peer)
{
    uint64_t epoch = load_acquire(&peer->claim->epoch);
    if (epoch == peer->epoch)
        return;
    drop_pidfd(peer);
    uint32_t pid = load_acquire32(&peer->claim->pid);
    uint64_t start = load_acquire(&peer->claim->start);
    peer->blind = 0;
    if (!is_this_process(pid, start)) {
        if (pid != (uint32_t)getpid())
            peer->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        /* After the pidfd, which keeps the pid in use: this is the start time of the process that the pidfd refers to. */
        uint64_t found = peer->pidfd < 0 ? 0 : kr_process_start(pid);
        /* Blind if there was no pidfd (a limit), if the system shows no processes, and if the pid is another process's.
         * Then the pid was used again and the word is marked already, or the holder is in another pid namespace. */
        peer->blind = !found || found != start;
        if (peer->blind)
            drop_pidfd(peer);
        else if (peer->wait_fd >= 0)
            watch(peer->wait_fd, peer->pidfd);
    }
    peer->epoch = epoch;
    set_timer(peer);
}

/* If the process of the pidfd has ended while the role is alive, that process is not the holder. The holder is in another
 * pid namespace, has the same pid, and began in the same tick of the clock. (The kernel marks the word before it reports
 * the end of a process.) */
static void doubt(struct kr_peer *peer)
{
    struct pollfd ended = {.fd = peer->pidfd, .events = POLLIN};
    if (peer->pidfd < 0 || poll(&ended, 1, 0) <= 0 || kr_peer_gone(peer) || load_acquire(&peer->claim->epoch) != peer->epoch)
        return;
    drop_pidfd(peer);
    peer->blind = 1;
}

void kr_peer_tick(struct kr_peer *peer)
{
    if (peer->timer_fd < 0 || kr_now_ns() < peer->tick_ns)
        return;
    doubt(peer);
    set_timer(peer);
}

/* What to sleep on. Call it under the lock. Another thread may close the pidfd before the sleep begins. Then the sleep
 * watches another descriptor of the same number, and at worst it ends too early. */
struct kr_watch kr_peer_watch(struct kr_peer *peer)
{
    kr_peer_look(peer);
    if (load_relaxed32(&peer->has_ended)) {
        store_relaxed32(&peer->has_ended, 0);
        doubt(peer);
    }
    return (struct kr_watch){peer->pidfd, peer->blind ? KR_BLIND_SLICE_NS : KR_POLL_SLICE_NS, &peer->has_ended};
}

/* One descriptor that is readable if the bell was rung, the peer's process has ended, or it is time to look at the word. The
 * first call makes it; each later call makes it watch the present peer. Returns the descriptor, or -1 with errno. */
int kr_peer_descriptor(struct kr_peer *peer, int bell)
{
    kr_peer_look(peer);
    kr_peer_tick(peer);
    if (peer->wait_fd >= 0)
        return peer->wait_fd;
    int made = epoll_create1(EPOLL_CLOEXEC);
    if (made < 0)
        return -1;
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer < 0 || watch(made, bell) || watch(made, timer) || (peer->pidfd >= 0 && watch(made, peer->pidfd))) {
        let_go(&timer);
        let_go(&made);
        return -1;
    }
    peer->timer_fd = timer;
    set_timer(peer);
    return peer->wait_fd = made;
}
