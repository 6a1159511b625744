/* The other side's process, as this side watches it while it sleeps: a pidfd, and for event loops one descriptor
 * over the doorbell and the pidfd. All under the lock of the handle that owns the peer. */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring.h"

void kr_peer_init(struct kr_peer *peer, struct kr_claim *claim)
{
    peer->claim = claim;
    peer->epoch = 0;
    peer->pidfd = -1;
    peer->wait_fd = -1;
    peer->blind = 0;
}

void kr_peer_forget(struct kr_peer *peer)
{
    if (peer->pidfd >= 0)
        close(peer->pidfd);
    if (peer->wait_fd >= 0)
        close(peer->wait_fd);
    peer->pidfd = peer->wait_fd = -1;
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
    /* By hand: closing does not take it out of the set while a forked child has a copy of it. */
    if (peer->wait_fd >= 0)
        epoll_ctl(peer->wait_fd, EPOLL_CTL_DEL, peer->pidfd, NULL);
    close(peer->pidfd);
    peer->pidfd = -1;
}

/* Makes the pidfd that of the present holder, or -1 when there is none or it is this process itself. */
void kr_peer_look(struct kr_peer *peer)
{
    uint64_t epoch = load_acquire(&peer->claim->epoch);
    if (epoch == peer->epoch)
        return;
    drop_pidfd(peer);
    uint32_t pid = load_acquire32(&peer->claim->pid);
    uint64_t start = load_acquire(&peer->claim->start);
    peer->blind = 0;
    if (pid != (uint32_t)getpid()) {
        peer->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        uint64_t found = peer->pidfd < 0 ? 0 : kr_process_start(pid);
        peer->blind = !found; /* a limit, or a system that shows no processes: nobody knows whose pid it is */
        if (found != start) /* the pid was reused: the word is marked already */
            drop_pidfd(peer);
        else if (peer->pidfd >= 0 && peer->wait_fd >= 0)
            watch(peer->wait_fd, peer->pidfd);
    }
    peer->epoch = epoch;
}

/* What to sleep on, to be taken under the lock. Another thread may close the pidfd before the sleep begins; then it
 * sleeps on whatever has that number now, and wakes too early at worst. */
struct kr_watch kr_peer_watch(struct kr_peer *peer)
{
    kr_peer_look(peer);
    return (struct kr_watch){peer->pidfd, peer->blind ? KR_BLIND_SLICE_NS : KR_POLL_SLICE_NS};
}

/* One descriptor that is readable when the bell is rung or the peer's process has ended. Made on first use;
 * called again it watches the present peer. Returns the descriptor or -1 with errno. */
int kr_peer_descriptor(struct kr_peer *peer, int bell)
{
    kr_peer_look(peer);
    if (peer->wait_fd >= 0)
        return peer->wait_fd;
    int made = epoll_create1(EPOLL_CLOEXEC);
    if (made < 0)
        return -1;
    if (watch(made, bell) || (peer->pidfd >= 0 && watch(made, peer->pidfd))) {
        close(made);
        return -1;
    }
    return peer->wait_fd = made;
}
