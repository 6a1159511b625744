/* The doorbell: a FIFO beside the segment. Any process that knows the name can sleep on it, and select, poll, epoll and
 * asyncio can watch it.
 *
 * A side that wants to be woken raises its request word and looks once more at the other side's position. A side that moves
 * its position looks at the request. If it differs from the last one that it honoured, it writes one byte and then notes
 * the request as honoured. All four steps are sequentially consistent, so at least one side sees the other. One request
 * costs one byte, however long the burst. A side always empties the FIFO and raises its request together:
 * kr_consumer_arm() says why. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ring/ring.h"

int kr_bell_open(const char *name, const char *suffix, int create, kr_failure *why)
{
    char path[320];
    struct stat info;
    snprintf(path, sizeof path, "/dev/shm/%s.%s", name, suffix);
    if (create) {
        unlink(path); /* a leftover: the segment of this name is new and ours */
        if (mkfifo(path, 0600))
            return kr_refuse(why, KR_E_SYSTEM, errno);
    }
    /* O_RDWR: neither side waits for the other to open it, or sees a hang-up when the other closes it. */
    int bell = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (bell < 0)
        return kr_refuse(why, errno == ENOENT ? KR_E_NOT_READY : KR_E_SYSTEM, errno);
    if (fstat(bell, &info) || !S_ISFIFO(info.st_mode) || info.st_uid != geteuid()) {
        close(bell);
        return kr_refuse(why, KR_E_NOT_A_RING, 0);
    }
    return bell;
}

/* EAGAIN is no failure: in a full FIFO there are bytes enough. */
void kr_bell_ring(int bell)
{
    ssize_t wrote;
    do
        wrote = write(bell, "", 1);
    while (wrote < 0 && errno == EINTR);
}

void kr_bell_clear(int bell)
{
    char bytes[512];
    ssize_t got;
    do
        got = read(bell, bytes, sizeof bytes);
    while (got == (ssize_t)sizeof bytes || (got < 0 && errno == EINTR));
}

static uint64_t now_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t kr_now_ns(void) { return now_of(CLOCK_MONOTONIC); }
uint64_t kr_now_coarse_ns(void) { return now_of(CLOCK_MONOTONIC_COARSE); }

static int sleep_on(struct pollfd watched[2], int64_t timeout_ns)
{
    struct timespec time = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return ppoll(watched, 2, &time, NULL);
}

/* Takes out the descriptors that something in this process has closed. Returns how many. */
static int leave_out_what_is_closed(struct pollfd watched[2])
{
    int closed = 0;
    for (int i = 0; i < 2; i++) {
        if (!(watched[i].revents & POLLNVAL))
            continue;
        closed++;
        watched[i].fd = -1;
    }
    return closed;
}

/* Sleeps until the bell rings, the peer's process ends, or the time is up (at most one slice). Returns 1 for the bell or the
 * peer, 0 for the time, -1 for a signal. If the application closed both descriptors, it falls back to a short timed sleep. */
int kr_bell_wait(int bell, struct kr_watch watch, int64_t timeout_ns)
{
    struct pollfd watched[2] = {{.fd = bell, .events = POLLIN}, {.fd = watch.pidfd, .events = POLLIN}};
    if (timeout_ns < 0 || timeout_ns > watch.slice_ns)
        timeout_ns = watch.slice_ns;
    int ready = sleep_on(watched, timeout_ns);
    if (ready > 0 && leave_out_what_is_closed(watched) == ready)
        ready = sleep_on(watched, timeout_ns < KR_BLIND_SLICE_NS ? timeout_ns : KR_BLIND_SLICE_NS);
    if (ready < 0)
        return errno == EINTR ? -1 : 0;
    if (ready > 0 && watched[1].revents & POLLIN)
        store_relaxed32(watch.has_ended, 1);
    return ready > 0;
}
