/* Two processes and the ring between them. */
#define _GNU_SOURCE
#include "halves.h"
#include "tests/open_ring.h"
#include "tests/open_sender.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_S 60

struct halves_meeting {
    _Atomic uint32_t here;
    _Atomic uint64_t begin_ns, end_ns;
};

void halves_open(struct halves *ring, uint64_t ring_bytes)
{
    kr_failure why = {0};
    memset(ring, 0, sizeof *ring);
    alarm(DEADLINE_S);
    snprintf(ring->name, sizeof ring->name, "kr-bench-%d", (int)getpid());
    int fd = shm_open(ring->name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        fail("shm_open");
    close(fd);
    ring->ring_bytes = ring_bytes;
    ring->map = kr_map_create(ring->name, ring_bytes, &why);
    ring->meeting = shared_pages(sizeof *ring->meeting);
    if (!ring->map)
        fail("kr_map_create");
}

void halves_part(struct halves *ring, void (*produce)(void *job), void *job)
{
    ring->child = fork();
    if (ring->child < 0)
        fail("fork");
    if (ring->child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(DEADLINE_S);
        keep_to_core(0);
        produce(job);
        _exit(0);
    }
    keep_to_core(1);
}

kr_sender *halves_sender(struct halves *ring)
{
    kr_failure why = {0};
    kr_sender *sender = kr_sender_open(ring->map, kr_area_map(ring->map, &why), &why);
    if (!sender)
        fail("kr_sender_open");
    return sender;
}

kr_consumer *halves_consumer(struct halves *ring, char **area)
{
    kr_failure why = {0};
    *area = kr_area_map(ring->map, &why);
    kr_consumer *consumer = kr_consumer_open(ring->map, *area, &why);
    if (!consumer)
        fail("kr_consumer_open");
    return consumer;
}

void halves_meet(struct halves *ring)
{
    struct waiting waiting = {0};
    if (atomic_fetch_add(&ring->meeting->here, 1) == 1) {
        atomic_store(&ring->meeting->begin_ns, clock_ns());
        return;
    }
    while (!atomic_load(&ring->meeting->begin_ns))
        wait_more(&waiting);
}

void halves_finish(struct halves *ring) { atomic_store(&ring->meeting->end_ns, clock_ns()); }

double halves_join(struct halves *ring)
{
    int status = 0;
    waitpid(ring->child, &status, 0);
    kr_unlink_doorbells(ring->name);
    shm_unlink(ring->name);
    kr_map_close(ring->map);
    if (status) {
        fprintf(stderr, "the producer ended with status %d\n", status);
        _exit(1);
    }
    return (double)(ring->meeting->end_ns - ring->meeting->begin_ns) / 1e9;
}
