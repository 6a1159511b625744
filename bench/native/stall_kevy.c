/* The `stall` case, driven from C: nobody drains while all events are sent; then everything is drained.
 *
 *   stall_kevy EVENTS RING_BYTES
 *
 * Each send is timed by itself. The consumer then checks number and order, while the pump runs in a thread of the
 * producer's process, as it does in a runner. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "halves.h"
#include "tests/open_sender.h"
#include "tests/send_joined.h"

#define MOST 4096
#define ARGUMENT_BYTES 83

struct job {
    struct halves ring;
    uint64_t events;
    struct report {
        double seconds, bytes_per_event, encoded_per_event, p50_us, p99_us, p99_9_us, max_us;
        _Atomic uint32_t sent;
    } *report;
};

static double resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (!statm || fscanf(statm, "%*u %llu", &pages) != 1)
        fail("statm");
    fclose(statm);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int by_size(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static void *pump(void *sender)
{
    while (kr_pump(sender, 1000000000) > KR_PUMP_DONE)
        ;
    return NULL;
}

static void produce(void *argument)
{
    static const uint32_t lengths[3] = {3, 16, 64};
    struct job *job = argument;
    struct report *report = job->report;
    char joined[ARGUMENT_BYTES];
    uint32_t *took = malloc(job->events * sizeof *took);
    kr_sender *sender = halves_sender(&job->ring);
    kr_overflow_info info;
    pthread_t thread;
    memset(joined, 'x', sizeof joined);
    memset(took, 1, job->events * sizeof *took);
    double before = resident_bytes();
    uint64_t begin = clock_ns();
    for (uint64_t i = 0; i < job->events; i++) {
        uint64_t start = clock_ns();
        int code = send_frame(sender, i, joined, lengths, 3);
        uint64_t ns = clock_ns() - start;
        took[i] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
        if (code < 0)
            fail("kr_send_frame");
    }
    report->seconds = (double)(clock_ns() - begin) / 1e9;
    kr_overflow_read(sender, &info);
    report->bytes_per_event = (resident_bytes() - before) / (double)job->events;
    report->encoded_per_event = info.events ? (double)info.bytes / (double)info.events : 0;
    qsort(took, job->events, sizeof *took, by_size);
    report->p50_us = took[job->events / 2] / 1e3;
    report->p99_us = took[job->events * 99 / 100] / 1e3;
    report->p99_9_us = took[job->events * 999 / 1000] / 1e3;
    report->max_us = took[job->events - 1] / 1e3;
    report->sent = 1;
    halves_meet(&job->ring);
    if (pthread_create(&thread, NULL, pump, sender))
        fail("pthread_create");
    pthread_join(thread, NULL);
    kr_sender_close(sender);
}

static uint64_t consume(struct job *job)
{
    char *columns = malloc(25 * MOST), *area;
    const uint64_t *offsets = (const uint64_t *)(const void *)columns;
    kr_consumer *consumer = halves_consumer(&job->ring, &area);
    uint64_t seen = 0, wrong = 0;
    while (!job->report->sent) /* the time of the drain begins when all is sent */
        usleep(1000);
    halves_meet(&job->ring);
    while (seen < job->events) {
        kr_batch batch;
        int64_t count = kr_consumer_drain(consumer, MOST, job->ring.ring_bytes / 4, columns, &batch);
        if (count < 0 || (!count && kr_consumer_wait(consumer, 1000000000, 50000) < 0))
            fail("kr_consumer_drain");
        for (int64_t i = 0; i < count; i++)
            wrong += offsets[i] != seen++;
        if (count && kr_consumer_release(consumer, batch.position + batch.span, (uint64_t)count, 1) < 0)
            fail("kr_consumer_release");
    }
    halves_finish(&job->ring);
    kr_consumer_close(consumer);
    return wrong;
}

int main(int argc, char **argv)
{
    struct job job = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: %s EVENTS RING_BYTES\n", argv[0]);
        return 2;
    }
    job.events = strtoull(argv[1], NULL, 10);
    job.report = shared_pages(sizeof *job.report);
    halves_open(&job.ring, strtoull(argv[2], NULL, 10));
    halves_part(&job.ring, produce, &job);
    uint64_t wrong = consume(&job);
    double drained = halves_join(&job.ring);
    struct report *report = job.report;
    if (wrong) {
        fprintf(stderr, "stall: %llu events out of order\n", (unsigned long long)wrong);
        return 3;
    }
    printf("{\"seconds\": %.6f, \"work\": %llu, \"figures\": {\"p50_us\": %.3f, \"p99_us\": %.3f, \"p99_9_us\": %.3f, "
           "\"max_us\": %.3f, \"bytes_per_event\": %.1f, \"encoded_bytes_per_event\": %.1f, \"memory_ratio\": %.3f, "
           "\"drained_per_s\": %.0f}}\n",
           report->seconds, (unsigned long long)job.events, report->p50_us, report->p99_us, report->p99_9_us, report->max_us,
           report->bytes_per_event, report->encoded_per_event,
           report->encoded_per_event ? report->bytes_per_event / report->encoded_per_event : 0, (double)job.events / drained);
    return 0;
}
