/* The `scale` case: one producer process and one consumer process with many rings between them.
 *
 *   scale_kevy RINGS RECORDS_IN_ALL RING_BYTES
 *
 * The producer writes to each ring in turn, the consumer drains each in turn, 88 bytes a record. Afterwards both are idle,
 * the consumer in epoll on all descriptors, and the CPU time of that second is read. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kevy_ring.h"
#include "sides.h"
#include "tests/open_ring.h"

#define RECORD_BYTES 88
#define BATCH 256
#define IDLE_MS 300

struct shared {
    _Atomic uint32_t here, idle;
    _Atomic uint64_t begin_ns, end_ns;
    double create_us, attach_us, producer_bytes;
};

static char prefix[32];

static void name_of(char *name, uint64_t ring) { snprintf(name, 64, "%s-%llu", prefix, (unsigned long long)ring); }

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

static void meet(struct shared *shared)
{
    struct waiting waiting = {0};
    if (atomic_fetch_add(&shared->here, 1) == 1)
        atomic_store(&shared->begin_ns, clock_ns());
    while (!atomic_load(&shared->begin_ns))
        wait_more(&waiting);
}

static void produce(struct shared *shared, uint64_t rings, uint64_t each)
{
    kr_failure why = {0};
    kr_producer **producers = calloc(rings, sizeof *producers);
    uint64_t *left = calloc(rings, sizeof *left), begin = clock_ns();
    uint32_t lengths[BATCH];
    static char joined[BATCH * RECORD_BYTES];
    char name[64];
    keep_to_core(0);
    for (uint64_t i = 0; i < rings; i++) {
        name_of(name, i);
        kr_map *map = kr_map_attach(name, &why);
        producers[i] = map ? kr_producer_open(map, kr_area_map(map, &why), &why) : NULL;
        if (!producers[i])
            fail("attach");
        left[i] = each;
    }
    shared->attach_us = (double)(clock_ns() - begin) / 1e3 / (double)rings;
    for (int i = 0; i < BATCH; i++)
        lengths[i] = RECORD_BYTES;
    meet(shared);
    for (uint64_t open = rings; open;) {
        uint64_t moved = 0;
        struct waiting waiting = {0};
        for (uint64_t i = 0; i < rings; i++) {
            uint64_t count = left[i] < BATCH ? left[i] : BATCH;
            int64_t done = count ? kr_producer_write_many(producers[i], joined, count * RECORD_BYTES, lengths, count) : 0;
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
    while (!atomic_load(&shared->idle))
        usleep(10000);
    for (uint64_t i = 0; i < rings; i++)
        kr_producer_free(producers[i]);
}

int main(int argc, char **argv)
{
    kr_failure why = {0};
    if (argc < 4) {
        fprintf(stderr, "usage: %s RINGS RECORDS_IN_ALL RING_BYTES\n", argv[0]);
        return 2;
    }
    uint64_t rings = strtoull(argv[1], NULL, 10), each = strtoull(argv[2], NULL, 10) / rings, ring_bytes = strtoull(argv[3], NULL, 10);
    struct shared *shared = shared_pages(sizeof *shared);
    kr_map **maps = calloc(rings, sizeof *maps);
    kr_consumer **consumers = calloc(rings, sizeof *consumers);
    char **areas = calloc(rings, sizeof *areas), *columns = malloc(25 * BATCH), name[64];
    snprintf(prefix, sizeof prefix, "kr-bench-%d", (int)getpid());
    alarm(60);
    double before = own_bytes();
    uint64_t begin = clock_ns();
    for (uint64_t i = 0; i < rings; i++) {
        name_of(name, i);
        int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0)
            fail("shm_open");
        close(fd);
        maps[i] = kr_map_create(name, ring_bytes, &why);
        if (!maps[i])
            fail("kr_map_create");
    }
    shared->create_us = (double)(clock_ns() - begin) / 1e3 / (double)rings;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(60);
        produce(shared, rings, each);
        _exit(0);
    }
    keep_to_core(1);
    for (uint64_t i = 0; i < rings; i++) {
        areas[i] = kr_area_map(maps[i], &why);
        consumers[i] = kr_consumer_open(maps[i], areas[i], &why);
        if (!consumers[i])
            fail("kr_consumer_open");
    }
    meet(shared);
    uint64_t seen = 0, sum = 0;
    while (seen < each * rings) {
        uint64_t got = 0;
        struct waiting waiting = {0};
        for (uint64_t i = 0; i < rings; i++) {
            kr_batch batch;
            int64_t count = kr_consumer_drain(consumers[i], BATCH, ring_bytes / 8, columns, &batch);
            if (count < 0)
                fail("kr_consumer_drain");
            if (!count)
                continue;
            sum += sum_words(areas[i] + batch.index, batch.span);
            kr_consumer_release(consumers[i], batch.position + batch.span, (uint64_t)count, 1);
            got += (uint64_t)count;
        }
        seen += got;
        if (!got)
            wait_more(&waiting);
    }
    double seconds = (double)(clock_ns() - shared->begin_ns) / 1e9, bytes = own_bytes() - before;
    uint64_t wakes = 0;
    int watched = epoll_create1(EPOLL_CLOEXEC);
    for (uint64_t i = 0; i < rings; i++) {
        kr_stats stats;
        struct epoll_event event = {.events = EPOLLIN};
        kr_map_stats(maps[i], &stats);
        wakes += stats.data_wakes;
        if (epoll_ctl(watched, EPOLL_CTL_ADD, kr_consumer_wait_fd(consumers[i]), &event))
            fail("epoll_ctl");
    }
    double cpu = cpu_seconds();
    struct epoll_event events[16];
    uint64_t idle_from = clock_ns();
    while (clock_ns() - idle_from < IDLE_MS * 1000000ull)
        epoll_wait(watched, events, 16, IDLE_MS - (int)((clock_ns() - idle_from) / 1000000));
    cpu = (cpu_seconds() - cpu) / ((double)(clock_ns() - idle_from) / 1e9);
    atomic_store(&shared->idle, 1);
    waitpid(child, NULL, 0);
    for (uint64_t i = 0; i < rings; i++) {
        name_of(name, i);
        kr_consumer_free(consumers[i]);
        kr_unlink_doorbells(name);
        shm_unlink(name);
    }
    /* Every payload is zeros, so the sum is that of the header words: lengths, and no offsets. */
    if (sum != each * rings * RECORD_BYTES) {
        fprintf(stderr, "scale: wrong sum\n");
        return 3;
    }
    printf("{\"seconds\": %.6f, \"work\": %llu, \"figures\": {\"wakes_per_million\": %.1f, \"idle_cpu_percent\": %.3f, "
           "\"create_us\": %.1f, \"attach_us\": %.1f, \"bytes_per_ring\": %.0f, \"beyond_capacity_bytes_per_ring\": %.0f}}\n",
           seconds, (unsigned long long)seen, (double)wakes * 1e6 / (double)seen, cpu * 100, shared->create_us, shared->attach_us,
           (bytes + shared->producer_bytes) / (double)rings, (bytes + shared->producer_bytes) / (double)rings - (double)ring_bytes);
    return 0;
}
