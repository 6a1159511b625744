/* Concurrency Kit's ck_ring in the `core` case: single producer, single consumer, records by value, in shared memory. */
#include <ck_ring.h>
#include <stdlib.h>

#include "sides.h"

#define SIZES(DO) DO(16) DO(88) DO(1024) DO(65536)

struct shared_ring {
    ck_ring_t ring;
    uint64_t size, bytes;
    char room[] CK_CC_CACHELINE;
};

/* In place on the producer's side (reserve, copy, commit); the dequeue copies out: it has no other. */
#define RECORD(SIZE)                                                                                             \
    struct record##SIZE {                                                                                        \
        char bytes[SIZE];                                                                                        \
    };                                                                                                           \
    CK_RING_PROTOTYPE(of##SIZE, record##SIZE)                                                                    \
    static uint64_t write##SIZE(struct shared_ring *shared, const char *joined, uint64_t count)                  \
    {                                                                                                            \
        struct record##SIZE *room = (struct record##SIZE *)(void *)shared->room;                                 \
        uint64_t done = 0;                                                                                       \
        while (done < count && ck_ring_enqueue_spsc_of##SIZE(&shared->ring, room,                                \
                                                             (struct record##SIZE *)(void *)(uintptr_t)(joined + done * SIZE))) \
            done++;                                                                                              \
        return done;                                                                                             \
    }                                                                                                            \
    static uint64_t read##SIZE(struct shared_ring *shared, uint64_t most, struct payload_sum *sum)               \
    {                                                                                                            \
        struct record##SIZE *room = (struct record##SIZE *)(void *)shared->room;                                 \
        static struct record##SIZE own;                                                                          \
        uint64_t done = 0;                                                                                       \
        while (done < most && ck_ring_dequeue_spsc_of##SIZE(&shared->ring, room, &own)) {                        \
            payload_seen(sum, own.bytes, SIZE);                                                                  \
            done++;                                                                                              \
        }                                                                                                        \
        return done;                                                                                             \
    }
SIZES(RECORD)

static void *prepare(const struct core_plan *plan)
{
    uint64_t records = 4;
    if (plan->size != 16 && plan->size != 88 && plan->size != 1024 && plan->size != 65536)
        return NULL;
    while (records * 2 * plan->size <= plan->ring_bytes)
        records *= 2;
    uint64_t bytes = sizeof(struct shared_ring) + records * plan->size;
    struct shared_ring *shared = shared_pages(bytes);
    ck_ring_init(&shared->ring, (unsigned)records);
    shared->size = plan->size;
    shared->bytes = bytes;
    return shared;
}

static void *same(void *prepared, const struct core_plan *plan)
{
    (void)plan;
    return prepared;
}

static void done(void *prepared) { (void)prepared; }

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
    static const struct core_contender contender = {
        "ck_ring", 0, "enqueue_spsc, dequeue_spsc by value", prepare, same, same, write_records, read_records, done,
    };
    return core_main(argc, argv, &contender);
}
