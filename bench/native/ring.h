/* A ring of this project as the native programs use it, and frames of kevy's protocol to send through it. */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include "sides.h"
#include "tests/open_ring.h"
#include "tests/open_sender.h"

/* Both ends. A process uses the end that it opened. The columns are those of kr_consumer_drain(). */
struct ring {
    char name[64], *area, *columns;
    uint64_t bytes, most, *offsets, *starts;
    uint32_t *lengths, *argcs;
    kr_map *map;
    kr_producer *producer;
    kr_sender *sender; /* around the producer, of a ring that carries events */
    kr_consumer *consumer;
};

/* `number` tells the rings of one process apart. */
void ring_create(struct ring *ring, uint64_t number, uint64_t bytes);
void ring_produce(struct ring *ring);
/* The same for events. The caller moves the overflow with kr_pump(). */
void ring_send(struct ring *ring);
/* A batch holds at most `most` records. */
void ring_consume(struct ring *ring, uint64_t most);
/* Takes a batch of at most `bytes`, and gives it back. Both end the program on an error. */
uint64_t ring_drain(struct ring *ring, uint64_t most, uint64_t bytes, kr_batch *batch);
void ring_release(struct ring *ring, const kr_batch *batch, uint64_t count);
void ring_wait(struct ring *ring);
void ring_remove(struct ring *ring);

/* SET with a 16-byte key and a value, as a primary sends it. Offsets count from `first`. */
struct wire {
    char *bytes;
    uint64_t length, frames, first;
};

/* Values have `value_bytes`. With `mixed` they have 1 to 2 * value_bytes - 1, in an order that looks random. */
void wire_make(struct wire *wire, uint64_t frames, uint64_t first, uint64_t value_bytes, int mixed);

#endif
