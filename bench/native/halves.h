/* A ring of this project between two processes, one on each core: what `ingest` and `snapshot` are driven through. */
#ifndef BENCH_HALVES_H
#define BENCH_HALVES_H

#include <sys/types.h>

#include "kevy_ring.h"
#include "sides.h"

struct halves {
    char name[64];
    uint64_t ring_bytes;
    kr_map *map;
    struct halves_meeting *meeting;
    pid_t child;
};

void halves_open(struct halves *ring, uint64_t ring_bytes);
/* Runs `produce(job)` in a child process; this process is the consumer. */
void halves_part(struct halves *ring, void (*produce)(void *job), void *job);
kr_sender *halves_sender(struct halves *ring);
kr_consumer *halves_consumer(struct halves *ring, char **area);
void halves_meet(struct halves *ring);   /* both sides: the time begins when the second one is here */
void halves_finish(struct halves *ring); /* the consumer has all */
double halves_join(struct halves *ring); /* seconds between the two */

#endif
