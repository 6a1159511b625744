#define _GNU_SOURCE
#include "ring.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define COLUMN_BYTES 25 /* of one record, see kr_consumer_drain */
#define WAIT_NS 1000000000
#define SPIN_NS 50000

void ring_create(struct ring *ring, uint64_t number, uint64_t bytes)
{
    kr_failure why = {0};
    memset(ring, 0, sizeof *ring);
    snprintf(ring->name, sizeof ring->name, "kr-bench-%d-%llu", (int)getpid(), (unsigned long long)number);
    int fd = shm_open(ring->name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        fail("shm_open");
    close(fd);
    ring->bytes = bytes;
    ring->map = kr_map_create(ring->name, bytes, &why);
    if (!ring->map)
        fail("kr_map_create");
}

void ring_produce(struct ring *ring)
{
    kr_failure why = {0};
    ring->area = ring->area ? ring->area : kr_area_map(ring->map, &why);
    ring->producer = kr_producer_open(ring->map, ring->area, &why);
    if (!ring->producer)
        fail("kr_producer_open");
}

void ring_send(struct ring *ring)
{
    kr_failure why = {0};
    ring->area = ring->area ? ring->area : kr_area_map(ring->map, &why);
    ring->sender = kr_sender_open(ring->map, ring->area, &why);
    if (!ring->sender)
        fail("kr_sender_open");
    ring->producer = kr_sender_producer(ring->sender);
}

void ring_consume(struct ring *ring, uint64_t most)
{
    kr_failure why = {0};
    ring->most = most;
    ring->columns = malloc(COLUMN_BYTES * most);
    ring->offsets = (uint64_t *)(void *)ring->columns;
    ring->starts = ring->offsets + most;
    ring->lengths = (uint32_t *)(void *)(ring->starts + most);
    ring->argcs = ring->lengths + most;
    ring->area = ring->area ? ring->area : kr_area_map(ring->map, &why);
    ring->consumer = kr_consumer_open(ring->map, ring->area, &why);
    if (!ring->consumer)
        fail("kr_consumer_open");
}

uint64_t ring_drain(struct ring *ring, uint64_t most, uint64_t bytes, kr_batch *batch)
{
    int64_t count = kr_consumer_drain(ring->consumer, most, bytes, ring->columns, batch);
    if (count < 0)
        fail("kr_consumer_drain");
    return (uint64_t)count;
}

void ring_release(struct ring *ring, const kr_batch *batch, uint64_t count)
{
    if (kr_consumer_release(ring->consumer, batch->position + batch->span, count, 1) < 0)
        fail("kr_consumer_release");
}

void ring_wait(struct ring *ring)
{
    if (kr_consumer_wait(ring->consumer, WAIT_NS, SPIN_NS) < 0)
        fail("kr_consumer_wait");
}

void ring_remove(struct ring *ring)
{
    if (ring->sender)
        kr_sender_free(ring->sender);
    else if (ring->producer)
        kr_producer_free(ring->producer);
    if (ring->consumer)
        kr_consumer_free(ring->consumer);
    kr_unlink_doorbells(ring->name);
    shm_unlink(ring->name);
    kr_map_close(ring->map);
    free(ring->columns);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void wire_make(struct wire *wire, uint64_t frames, uint64_t first, uint64_t value_bytes, int mixed)
{
    char *at = wire->bytes = malloc(frames * (128 + 2 * value_bytes));
    if (!at)
        fail("malloc");
    wire->frames = frames;
    wire->first = first;
    for (uint64_t i = 0; i < frames; i++) {
        uint64_t bytes = mixed ? 1 + mix(i) % (2 * value_bytes - 1) : value_bytes;
        at += sprintf(at, "*2\r\n:%llu\r\n*3\r\n$3\r\nSET\r\n$16\r\nkey:%012llu\r\n$%llu\r\n", (unsigned long long)(first + i),
                      (unsigned long long)(mix(i) % 1000000), (unsigned long long)bytes);
        for (uint64_t b = 0; b < bytes; b++)
            *at++ = (char)('a' + (mix(i) + b) % 26);
        *at++ = '\r';
        *at++ = '\n';
    }
    wire->length = (uint64_t)(at - wire->bytes);
}
