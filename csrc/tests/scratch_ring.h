/* A ring for one test. It is removed when the test ends in any way.
 *
 * Both roles get the same mapping. So both sides use one address for a byte, and a sanitizer can see a race on it. */
#ifndef KR_SCRATCH_RING_H
#define KR_SCRATCH_RING_H

#include "open_ring.h"

#define SCRATCH_ROWS 1024

struct scratch_ring {
    char name[32];
    kr_map *map;
    char *area;
    kr_producer *producer;
    kr_sender *sender; /* contains `producer`; see scratch_inbox.h. NULL: a ring that is no inbox */
    void (*free_sender)(kr_sender *sender);
    kr_consumer *consumer;
    kr_batch batch;
    uint64_t rows;
    char columns[25 * SCRATCH_ROWS + 8] __attribute__((aligned(16)));
};

/* An unguessable name of an empty shared-memory object, as kr_map_create() wants it. */
void scratch_object(char name[32]);
void scratch_create(struct scratch_ring *ring, uint64_t capacity);                     /* no roles */
void scratch_attach(struct scratch_ring *ring, const char *name);                      /* no roles, own mapping */
void scratch_open_at(struct scratch_ring *ring, uint64_t capacity, uint64_t position); /* both roles */
void scratch_open(struct scratch_ring *ring, uint64_t capacity);
void scratch_take_producer(struct scratch_ring *ring);
void scratch_take_consumer(struct scratch_ring *ring);
void scratch_close(struct scratch_ring *ring); /* the roles that it has, the mapping; the name stays until the end */
void scratch_remove_all(void);

/* Drains into the columns of the ring itself, and reads them. */
int64_t scratch_drain(struct scratch_ring *ring, uint64_t max_records, uint64_t max_bytes);
const char *scratch_payload(const struct scratch_ring *ring, uint64_t i);
uint32_t scratch_length(const struct scratch_ring *ring, uint64_t i);
uint32_t scratch_argc(const struct scratch_ring *ring, uint64_t i);
uint64_t scratch_offset(const struct scratch_ring *ring, uint64_t i);
uint8_t scratch_kind(const struct scratch_ring *ring, uint64_t i);
uint64_t scratch_end_of(const struct scratch_ring *ring, uint64_t i); /* the position after record i */
int scratch_release_all(struct scratch_ring *ring);
/* `count` records of "12345678" with one publish; one record out and its space back, how many there were. */
int scratch_write(struct scratch_ring *ring, uint64_t count);
int scratch_take(struct scratch_ring *ring);
int scratch_has_records(struct scratch_ring *ring); /* after the drained ones */
int scratch_bell_rung(int bell); /* bytes waiting in a FIFO */
int scratch_readable(int descriptor);

#endif
