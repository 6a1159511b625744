/* This project's ring in the `core` case: one write_many and one drain of the core for each batch. */
#include <stdlib.h>

#include "ring.h"

struct core_ring {
    struct ring ring;
    uint64_t size;
    uint32_t *record_bytes; /* the producer's: the size, once for each record of a batch */
};

static void *prepare(const struct core_plan *plan)
{
    struct core_ring *core = calloc(1, sizeof *core);
    ring_create(&core->ring, 0, plan->ring_bytes);
    core->size = plan->size;
    core->record_bytes = malloc(plan->batch * sizeof *core->record_bytes);
    for (uint64_t i = 0; i < plan->batch; i++)
        core->record_bytes[i] = (uint32_t)plan->size;
    return core;
}

static void *produce_on(void *prepared, const struct core_plan *plan)
{
    (void)plan;
    ring_produce(&((struct core_ring *)prepared)->ring);
    return prepared;
}

static void *consume_on(void *prepared, const struct core_plan *plan)
{
    ring_consume(&((struct core_ring *)prepared)->ring, plan->batch);
    return prepared;
}

static uint64_t write_records(void *end, const char *joined, uint64_t count)
{
    struct core_ring *core = end;
    int64_t taken = kr_producer_write_many(core->ring.producer, joined, count * core->size, core->record_bytes, count);
    if (taken < 0)
        fail("kr_producer_write_many");
    return (uint64_t)taken;
}

/* The rivals' records have a type, so their consumers know the size at compile time. This one does too, and checks it. */
#define SHOW(SIZE)                                        \
    case SIZE:                                            \
        for (uint64_t i = 0; i < count; i++) {            \
            if (lengths[i] != SIZE)                       \
                fail("a record of another length");       \
            payload_seen(sum, records + starts[i], SIZE); \
        }                                                 \
        break;

static uint64_t read_records(void *end, uint64_t most, struct payload_sum *sum)
{
    struct core_ring *core = end;
    kr_batch batch;
    uint64_t count = ring_drain(&core->ring, most, core->ring.bytes / 8, &batch);
    if (!count)
        return 0;
    const char *records = core->ring.area + batch.index;
    const uint64_t *starts = core->ring.starts;
    const uint32_t *lengths = core->ring.lengths;
    switch (core->size) {
        SHOW(16)
        SHOW(88)
        SHOW(1024)
        SHOW(65536)
    default:
        for (uint64_t i = 0; i < count; i++)
            payload_seen(sum, records + starts[i], lengths[i]);
    }
    ring_release(&core->ring, &batch, count);
    return count;
}

static void done(void *prepared) { ring_remove(&((struct core_ring *)prepared)->ring); }

int main(int argc, char **argv)
{
    static const struct core_contender contender = {0, prepare, produce_on, consume_on, write_records, read_records, done};
    return core_main(argc, argv, &contender);
}
