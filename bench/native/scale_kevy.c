/* The `scale` case: one producer process and one consumer process with many rings between them. The producer writes to
 * each ring in turn, and the consumer drains each in turn, 88 bytes a record. Afterwards both are idle, the consumer in
 * epoll on all descriptors, and its CPU time is read.
 *
 *   scale_kevy RINGS RECORDS_IN_ALL RING_BYTES */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ring.h"

#define RECORD_BYTES 88
#define BATCH 256
#define IDLE_MS 300

static struct shared {
    struct meeting meeting;
    _Atomic uint32_t idle;
    double create_us, attach_us, producer_bytes;
} *shared;
static struct ring *rings;
static uint64_t ring_count, each;

static double own_bytes(void)
{
    char line[128];
    unsigned long long kib = 0, total = 0;
    FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
    if (!rollup)
        return 0;
    while (fgets(line, sizeof line, rollup))
        if (sscanf(line, "Pss: %llu kB", &kib) == 1)
            total = kib;
    fclose(rollup);
    return (double)total * 1024;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void produce(void *nothing)
{
    (void)nothing;
    kr_failure why = {0};
    uint64_t *left = calloc(ring_count, sizeof *left), begin = clock_ns();
    uint32_t lengths[BATCH];
    static char joined[BATCH * RECORD_BYTES];
    for (uint64_t i = 0; i < ring_count; i++) {
        if (!(rings[i].map = kr_map_attach(rings[i].name, &why)))
            fail("kr_map_attach");
        ring_produce(&rings[i]);
        left[i] = each;
    }
    shared->attach_us = (double)(clock_ns() - begin) / 1e3 / (double)ring_count;
    for (int i = 0; i < BATCH; i++)
        lengths[i] = RECORD_BYTES;
    meet(&shared->meeting);
    for (uint64_t open = ring_count; open;) {
        uint64_t moved = 0;
        struct waiting waiting = {0};
        for (uint64_t i = 0; i < ring_count; i++) {
            uint64_t count = left[i] < BATCH ? left[i] : BATCH;
            int64_t done = count ? kr_producer_write_many(rings[i].producer, joined, count * RECORD_BYTES, lengths, count) : 0;
            if (done < 0)
                fail("kr_producer_write_many");
            left[i] -= (uint64_t)done;
            moved += (uint64_t)done;
            open -= done && !left[i];
        }
        if (!moved)
            wait_more(&waiting);
    }
    shared->producer_bytes = own_bytes();
    while (!shared->idle)
        usleep(10000);
    for (uint64_t i = 0; i < ring_count; i++)
        kr_producer_free(rings[i].producer);
}

static uint64_t consume(void)
{
    uint64_t seen = 0, sum = 0;
    for (uint64_t i = 0; i < ring_count; i++)
        ring_consume(&rings[i], BATCH);
    meet(&shared->meeting);
    while (seen < each * ring_count) {
        uint64_t before = seen;
        struct waiting waiting = {0};
        for (uint64_t i = 0; i < ring_count; i++) {
            kr_batch batch;
            uint64_t count = ring_drain(&rings[i], BATCH, rings[i].bytes / 8, &batch);
            if (!count)
                continue;
            sum += sum_words(rings[i].area + batch.index, batch.span);
            ring_release(&rings[i], &batch, count);
            seen += count;
        }
        if (seen == before)
            wait_more(&waiting);
    }
    shared->meeting.end_ns = clock_ns();
    return sum;
}

/* Percent of a core that this process uses while it sleeps in epoll on all rings. */
static double idle_cpu_percent(uint64_t *wakes)
{
    int watched = epoll_create1(EPOLL_CLOEXEC);
    for (uint64_t i = 0; i < ring_count; i++) {
        kr_stats stats;
        struct epoll_event event = {.events = EPOLLIN};
        kr_map_stats(rings[i].map, &stats);
        *wakes += stats.data_wakes;
        if (epoll_ctl(watched, EPOLL_CTL_ADD, kr_consumer_wait_fd(rings[i].consumer), &event))
            fail("epoll_ctl");
    }
    double cpu = cpu_seconds();
    struct epoll_event events[16];
    uint64_t from = clock_ns();
    while (clock_ns() - from < IDLE_MS * 1000000ull)
        epoll_wait(watched, events, 16, IDLE_MS - (int)((clock_ns() - from) / 1000000));
    return 100 * (cpu_seconds() - cpu) / ((double)(clock_ns() - from) / 1e9);
}

int main(int argc, char **argv)
{
    uint64_t wakes = 0, ring_bytes = argument(argc, argv, 3);
    ring_count = argument(argc, argv, 1);
    each = argument(argc, argv, 2) / ring_count;
    shared = shared_pages(sizeof *shared);
    rings = calloc(ring_count, sizeof *rings);
    double before = own_bytes();
    uint64_t begin = clock_ns();
    for (uint64_t i = 0; i < ring_count; i++)
        ring_create(&rings[i], i, ring_bytes);
    shared->create_us = (double)(clock_ns() - begin) / 1e3 / (double)ring_count;
    pid_t child = part(produce, NULL);
    uint64_t sum = consume(), seen = each * ring_count;
    double bytes = own_bytes() - before, idle = idle_cpu_percent(&wakes);
    shared->idle = 1;
    join(child);
    for (uint64_t i = 0; i < ring_count; i++)
        ring_remove(&rings[i]);
    /* Every payload and every offset is 0, so the sum is that of the lengths in the headers. */
    if (sum != seen * RECORD_BYTES)
        return wrong_answer("scale: the sum of all words is wrong");
    double beyond = (bytes + shared->producer_bytes) / (double)ring_count - (double)ring_bytes;
    print_result(met_seconds(&shared->meeting), seen,
                 "\"wakes_per_million\": %.1f, \"idle_cpu_percent\": %.3f, \"create_us\": %.1f, \"attach_us\": %.1f, "
                 "\"beyond_capacity_bytes_per_ring\": %.0f",
                 (double)wakes * 1e6 / (double)seen, idle, shared->create_us, shared->attach_us, beyond);
    return 0;
}
