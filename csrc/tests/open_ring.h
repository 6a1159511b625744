/* Rings and roles in one call each, for the tests, the fuzzers and the benchmarks. */
#ifndef KR_OPEN_RING_H
#define KR_OPEN_RING_H

#include <stdio.h>
#include <unistd.h>

#include "ring/ring.h"

enum { KR_ROLE_PRODUCER, KR_ROLE_CONSUMER };

/* The ring and its doorbells, in an empty shared-memory object of that name. NULL, and `why`, when it cannot be made. */
static inline kr_map *kr_map_create(const char *name, uint64_t capacity, kr_failure *why)
{
    kr_map *map = kr_map_prepare(name, capacity, 0, "", 0, why);
    if (!map || !kr_map_finish(map, name, why))
        return map;
    kr_map_close(map);
    return NULL;
}

/* Sets both positions of a new, unused ring: tests begin near the wrap of 64 bits. */
static inline void kr_map_preset(kr_map *map, uint64_t position)
{
    store_relaxed(&map->header->head, position);
    store_release(&map->header->tail, position);
}

/* 0, or -1 if one of the two was missing. */
static inline int kr_unlink_doorbells(const char *name)
{
    char data[KR_NAME_BYTES + 32], space[KR_NAME_BYTES + 32];
    snprintf(data, sizeof data, "/dev/shm/%s.data", name);
    snprintf(space, sizeof space, "/dev/shm/%s.space", name);
    int failed = unlink(data);
    return unlink(space) || failed ? -1 : 0;
}

/* One record. 1: written and published; 0: the ring is full. */
static inline int kr_producer_write(kr_producer *producer, const char *payload, uint64_t length)
{
    if (length > UINT32_MAX) /* more than kr_producer_write_many() can be asked for */
        return (int)kr_producer_write_pieces(producer, &(kr_piece){payload, length}, 1);
    return (int)kr_producer_write_many(producer, payload, length, &(uint32_t){(uint32_t)length}, 1);
}

/* NULL, and `why`, if the role is refused. */
static inline kr_producer *kr_producer_open(kr_map *map, char *area, kr_failure *why)
{
    kr_producer *producer = kr_producer_new(map, area);
    if (!kr_producer_take(producer, why))
        return producer;
    kr_producer_free(producer);
    return NULL;
}

static inline kr_consumer *kr_consumer_open(kr_map *map, char *area, kr_failure *why)
{
    kr_consumer *consumer = kr_consumer_new(map, area);
    if (!kr_consumer_take(consumer, why))
        return consumer;
    kr_consumer_free(consumer);
    return NULL;
}

#endif
