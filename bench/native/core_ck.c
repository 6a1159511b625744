/* Concurrency Kit's ck_ring in the `core` case: single producer, single consumer, records by value, in shared memory. */
#include <ck_ring.h>

#include "sides.h"

#define SIZES(DO) DO(16) DO(88) DO(1024) DO(65536)

struct shared_ring {
    ck_ring_t ring;
    uint64_t size;
    char room[] CK_CC_CACHELINE;
};

/* The dequeue copies a record out: ck_ring has no call that leaves it in place. */
#define RECORD(SIZE)                                                                                                \
    struct record##SIZE {                                                                                           \
        char bytes[SIZE];                                                                                           \
    };                                                                                                              \
    CK_RING_PROTOTYPE(of##SIZE, record##SIZE)                                                                       \
    static uint64_t write##SIZE(struct shared_ring *shared, const char *joined, uint64_t count)                     \
    {                                                                                                               \
        struct record##SIZE *room = (void *)shared->room, *records = (void *)(uintptr_t)joined;                     \
        uint64_t taken = 0;                                                                                         \
        while (taken < count && ck_ring_enqueue_spsc_of##SIZE(&shared->ring, room, records + taken))                \
            taken++;                                                                                                \
        return taken;                                                                                               \
    }                                                                                                               \
    static uint64_t read##SIZE(struct shared_ring *shared, uint64_t most, struct payload_sum *sum)                  \
    {                                                                                                               \
        struct record##SIZE *room = (void *)shared->room;                                                           \
        static struct record##SIZE own;                                                                             \
        uint64_t seen = 0;                                                                                          \
        for (; seen < most && ck_ring_dequeue_spsc_of##SIZE(&shared->ring, room, &own); seen++)                     \
            payload_seen(sum, own.bytes, SIZE);                                                                     \
        return seen;                                                                                                \
    }
SIZES(RECORD)

static void *prepare(const struct core_plan *plan)
{
    uint64_t records = 4; /* ck_ring wants a power of two */
    if (plan->size != 16 && plan->size != 88 && plan->size != 1024 && plan->size != 65536)
        return NULL;
    while (records * 2 * plan->size <= plan->ring_bytes)
        records *= 2;
    struct shared_ring *shared = shared_pages(sizeof *shared + records * plan->size);
    ck_ring_init(&shared->ring, (unsigned)records);
    shared->size = plan->size;
    return shared;
}

static uint64_t write_records(void *end, const char *joined, uint64_t count)
{
    struct shared_ring *shared = end;
    switch (shared->size) {
#define WRITE(SIZE) case SIZE: return write##SIZE(shared, joined, count);
        SIZES(WRITE)
    }
    return 0;
}

static uint64_t read_records(void *end, uint64_t most, struct payload_sum *sum)
{
    struct shared_ring *shared = end;
    switch (shared->size) {
#define READ(SIZE) case SIZE: return read##SIZE(shared, most, sum);
        SIZES(READ)
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct core_contender contender = {0, prepare, NULL, NULL, write_records, read_records, NULL};
    return core_main(argc, argv, &contender);
}
