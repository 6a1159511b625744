/* The `stall` case, driven from C: the receiver does not read while all events are sent; each send is timed. Then the
 * receiver drains them all and checks number and order. The pump runs in a thread of the sender's process, as in a runner.
 *
 *   stall_kevy EVENTS RING_BYTES */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring.h"
#include "tests/send_joined.h"

#define MOST 4096
#define ARGUMENT_BYTES 83

static struct ring ring;
static struct meeting *meeting;
static uint64_t events;
static struct report {
    double seconds, bytes_per_event, p50_us, p99_9_us, max_us;
    _Atomic uint32_t sent;
} *report;

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

static void send_all(uint32_t *took)
{
    static const uint32_t lengths[3] = {3, 16, 64};
    char joined[ARGUMENT_BYTES];
    memset(joined, 'x', sizeof joined);
    for (uint64_t i = 0; i < events; i++) {
        uint64_t start = clock_ns();
        int code = send_frame(ring.sender, i, joined, lengths, 3);
        uint64_t ns = clock_ns() - start;
        took[i] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
        if (code < 0)
            fail("send_frame");
    }
}

static void produce(void *nothing)
{
    (void)nothing;
    uint32_t *took = malloc(events * sizeof *took);
    pthread_t thread;
    ring_send(&ring);
    memset(took, 1, events * sizeof *took); /* touched before the memory is looked at */
    double before = resident_bytes();
    uint64_t begin = clock_ns();
    send_all(took);
    report->seconds = (double)(clock_ns() - begin) / 1e9;
    report->bytes_per_event = (resident_bytes() - before) / (double)events;
    qsort(took, events, sizeof *took, by_size);
    report->p50_us = took[events / 2] / 1e3;
    report->p99_9_us = took[events * 999 / 1000] / 1e3;
    report->max_us = took[events - 1] / 1e3;
    report->sent = 1;
    meet(meeting);
    if (pthread_create(&thread, NULL, pump, ring.sender))
        fail("pthread_create");
    pthread_join(thread, NULL);
    kr_sender_close(ring.sender);
}

static uint64_t consume(void)
{
    uint64_t seen = 0, wrong = 0;
    ring_consume(&ring, MOST);
    while (!report->sent) /* the time of the drain begins when all is sent */
        usleep(1000);
    meet(meeting);
    while (seen < events) {
        kr_batch batch;
        uint64_t count = ring_drain(&ring, MOST, ring.bytes / 4, &batch);
        if (!count) {
            ring_wait(&ring);
            continue;
        }
        for (uint64_t i = 0; i < count; i++)
            wrong += ring.offsets[i] != seen++;
        ring_release(&ring, &batch, count);
    }
    meeting->end_ns = clock_ns();
    return wrong;
}

int main(int argc, char **argv)
{
    events = argument(argc, argv, 1);
    report = shared_pages(sizeof *report);
    meeting = shared_pages(sizeof *meeting);
    ring_create(&ring, 0, argument(argc, argv, 2));
    pid_t child = part(produce, NULL);
    uint64_t wrong = consume();
    join(child);
    ring_remove(&ring);
    if (wrong)
        return wrong_answer("stall: events are out of order");
    print_result(report->seconds, events,
                 "\"p50_us\": %.3f, \"p99_9_us\": %.3f, \"max_us\": %.3f, \"bytes_per_event\": %.1f, \"drained_per_s\": %.0f",
                 report->p50_us, report->p99_9_us, report->max_us, report->bytes_per_event, (double)events / met_seconds(meeting));
    return 0;
}
