/* A ring whose two sides are driven in turn by one thread: what counts instructions, and times one path alone. */
#ifndef BENCH_ONE_SIDE_H
#define BENCH_ONE_SIDE_H

#include "kevy_ring.h"

#define COLUMN_BYTES 25 /* of one record, see kr_consumer_drain */

struct one_side {
    char name[64];
    kr_map *map;
    kr_sender *sender;
    kr_producer *producer; /* of the sender */
    kr_consumer *consumer;
    char *area, *columns;
    uint64_t most;
};

void one_side_open(struct one_side *both, uint64_t ring_bytes, uint64_t most);
void one_side_close(struct one_side *both);

/* Drains and releases everything; returns the number of records, and adds up their words when `sum` is not NULL. */
uint64_t one_side_drain(struct one_side *both, uint64_t *sum);

void fail(const char *what);
uint64_t clock_ns(void);

#endif
