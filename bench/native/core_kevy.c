/* The ring of this project in the `core` case: write_many and drain, one call of the core per batch. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kevy_ring.h"
#include "sides.h"
#include "tests/open_ring.h"

#define COLUMN_BYTES 25 /* of one record, see kr_consumer_drain */

struct prepared {
    char name[64];
    kr_map *map;
};

struct producing {
    kr_producer *producer;
    uint32_t *lengths;
    uint64_t size;
};

struct consuming {
    kr_consumer *consumer;
    char *area, *columns;
    uint64_t size, most, step_bytes;
};

static void *prepare(const struct core_plan *plan)
{
    struct prepared *ring = calloc(1, sizeof *ring);
    kr_failure why = {0};
    snprintf(ring->name, sizeof ring->name, "kr-bench-%d", (int)getpid());
    int fd = shm_open(ring->name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        fail("shm_open");
    close(fd);
    ring->map = kr_map_create(ring->name, plan->ring_bytes, &why);
    if (!ring->map)
        fail("kr_map_create");
    return ring;
}

static void done(void *prepared)
{
    struct prepared *ring = prepared;
    kr_unlink_doorbells(ring->name);
    shm_unlink(ring->name);
    kr_map_close(ring->map);
    free(ring);
}

static void *produce_on(void *prepared, const struct core_plan *plan)
{
    struct prepared *ring = prepared;
    struct producing *side = calloc(1, sizeof *side);
    kr_failure why = {0};
    side->size = plan->size;
    side->lengths = malloc(plan->batch * sizeof *side->lengths);
    for (uint64_t i = 0; i < plan->batch; i++)
        side->lengths[i] = (uint32_t)plan->size;
    side->producer = kr_producer_open(ring->map, kr_area_map(ring->map, &why), &why);
    if (!side->producer)
        fail("kr_producer_open");
    return side;
}

static void *consume_on(void *prepared, const struct core_plan *plan)
{
    struct prepared *ring = prepared;
    struct consuming *side = calloc(1, sizeof *side);
    kr_failure why = {0};
    side->size = plan->size;
    side->most = plan->batch;
    side->step_bytes = plan->ring_bytes / 8;
    side->columns = malloc(COLUMN_BYTES * plan->batch);
    side->area = kr_area_map(ring->map, &why);
    side->consumer = kr_consumer_open(ring->map, side->area, &why);
    if (!side->consumer)
        fail("kr_consumer_open");
    return side;
}

static uint64_t write_records(void *end, const char *joined, uint64_t count)
{
    struct producing *side = end;
    int64_t taken = kr_producer_write_many(side->producer, joined, count * side->size, side->lengths, count);
    if (taken < 0)
        fail("kr_producer_write_many");
    return (uint64_t)taken;
}

/* Like the rivals, whose records have a type: the consumer knows the size when it is compiled, and checks it. */
#define SHOW(SIZE)                                                          \
    case SIZE:                                                              \
        for (int64_t i = 0; i < count; i++) {                               \
            if (lengths[i] != SIZE)                                         \
                fail("a record of another length");                         \
            payload_seen(sum, records + starts[i], SIZE);                   \
        }                                                                   \
        break;

static void show_records(const char *records, const uint64_t *starts, const uint32_t *lengths, int64_t count, uint64_t size, struct payload_sum *sum)
{
    switch (size) {
        SHOW(16)
        SHOW(88)
        SHOW(1024)
        SHOW(65536)
    default:
        for (int64_t i = 0; i < count; i++)
            payload_seen(sum, records + starts[i], lengths[i]);
    }
}

static uint64_t read_records(void *end, uint64_t most, struct payload_sum *sum)
{
    struct consuming *side = end;
    kr_batch batch;
    int64_t count = kr_consumer_drain(side->consumer, most, side->step_bytes, side->columns, &batch);
    if (count < 0)
        fail("kr_consumer_drain");
    if (!count)
        return 0;
    const uint64_t *starts = (const uint64_t *)(const void *)(side->columns + 8 * most);
    const uint32_t *lengths = (const uint32_t *)(const void *)(side->columns + 16 * most);
    show_records(side->area + batch.index, starts, lengths, count, side->size, sum);
    if (kr_consumer_release(side->consumer, batch.position + batch.span, (uint64_t)count, 1) < 0)
        fail("kr_consumer_release");
    return (uint64_t)count;
}

int main(int argc, char **argv)
{
    static const struct core_contender contender = {
        "kevy-ring", 0, "write_many, drain in place", prepare, produce_on, consume_on, write_records, read_records, done,
    };
    return core_main(argc, argv, &contender);
}
