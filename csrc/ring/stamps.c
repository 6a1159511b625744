/* How long records are in the ring. For one record in KR_STAMP_EVERY the producer notes where it ends and when it was
 * published. Before the consumer gives that place back, it counts how long that was.
 *
 * The stamps are in a ring of slots in the header. If the record of the next slot is still in the ring, the producer makes
 * no stamp. */
#include "ring/ring.h"

const uint64_t kr_time_bounds_ns[KR_TIME_BOUNDS] = {
    1000,       2500,       5000,       10000,       25000,       50000,       100000,       250000,      500000,
    1000000,    2500000,    5000000,    10000000,    25000000,    50000000,    100000000,    250000000,   500000000,
    1000000000, 2500000000, 5000000000, 10000000000, 25000000000, 50000000000, 100000000000,
};

static_assert(KR_TIME_BOUNDS + 1 == sizeof((kr_times *)0)->counts / sizeof(uint64_t), "one count for each bound, and one");

static int lies_between(uint64_t position, uint64_t head, uint64_t end) { return position - head - 1 < end - head; }

/* A producer that died may have stamped a record that it did not publish. Another record will end at that position. So each
 * stamp that belongs to no published record moves to the head, where no record can end any more. */
void kr_stamps_find(struct kr_producer *producer)
{
    struct kr_header *header = producer->header;
    producer->stamps = load_relaxed(&header->stamps);
    for (unsigned i = 0; i < KR_STAMPS; i++) {
        struct kr_stamp *stamp = &header->stamp[i];
        if (!lies_between(load_relaxed(&stamp->position), producer->head_cache, producer->tail))
            store_relaxed(&stamp->position, producer->head_cache);
    }
}

/* Under the producer's lock, before the tail is stored: the record that ends at `tail` gets a stamp. */
void kr_stamp_make(struct kr_producer *producer, uint64_t tail)
{
    struct kr_header *header = producer->header;
    struct kr_stamp *stamp = &header->stamp[producer->stamps % KR_STAMPS];
    producer->stamp_due = producer->events_in + KR_STAMP_EVERY;
    /* Pairs with the store of head in kr_consumer_release(): the consumer has counted the stamps before head. */
    if (lies_between(load_relaxed(&stamp->position), load_acquire(&header->head), tail))
        return;
    store_relaxed(&stamp->position, tail);
    store_relaxed(&stamp->published_ns, kr_now_ns());
    /* Pairs with the acquire load in kr_consumer_drain(): after this number the stamp is visible. */
    store_release(&header->stamps, ++producer->stamps);
}

static unsigned bucket_of(uint64_t ns)
{
    unsigned bucket = 0;
    while (bucket < KR_TIME_BOUNDS && ns > kr_time_bounds_ns[bucket])
        bucket++;
    return bucket;
}

static void count(struct kr_header *header, uint64_t ns)
{
    kr_word *count = &header->time_counts[bucket_of(ns)];
    store_relaxed(count, load_relaxed(count) + 1);
    store_relaxed(&header->time_total_ns, load_relaxed(&header->time_total_ns) + ns);
}

/* Under the consumer's lock, before the head moves from `head` to `end`: until then the producer does not write the slots. */
void kr_stamps_count(struct kr_consumer *consumer, uint64_t head, uint64_t end)
{
    struct kr_header *header = consumer->header;
    uint64_t made = consumer->stamps_made, now = 0;
    if (made - consumer->stamps > KR_STAMPS)
        consumer->stamps = made - KR_STAMPS;
    for (; consumer->stamps != made; consumer->stamps++) {
        struct kr_stamp *stamp = &header->stamp[consumer->stamps % KR_STAMPS];
        uint64_t position = load_relaxed(&stamp->position);
        if (!lies_between(position, head, end)) {
            if (lies_between(position, head, head + consumer->capacity))
                return; /* its record is still in the ring */
            continue; /* a predecessor gave its record back */
        }
        now = now ? now : kr_now_ns();
        uint64_t published = load_relaxed(&stamp->published_ns);
        if (published <= now)
            count(header, now - published);
    }
}

/* Both sides may be at work meanwhile: the counts may have one stamp more or less. */
void kr_map_times(kr_map *map, kr_times *out)
{
    struct kr_header *header = map->header;
    uint64_t head = load_acquire(&header->head), tail = load_acquire(&header->tail);
    out->total_ns = load_relaxed(&header->time_total_ns);
    for (int i = 0; i <= KR_TIME_BOUNDS; i++)
        out->counts[i] = load_relaxed(&header->time_counts[i]);
    out->now_ns = kr_now_ns();
    out->oldest_ns = 0;
    uint64_t made = load_acquire(&header->stamps);
    for (uint64_t i = 0; i < KR_STAMPS && i < made; i++) {
        /* The load of tail orders this: with a position before that tail comes its time, or a later one. */
        int is_there = lies_between(load_relaxed(&header->stamp[i].position), head, tail);
        uint64_t published = load_relaxed(&header->stamp[i].published_ns);
        if (is_there && (!out->oldest_ns || published < out->oldest_ns))
            out->oldest_ns = published;
    }
}
