/* The two sides of a `core` run: fork or thread, start together, verify, time, print. */
#define _GNU_SOURCE
#include "sides.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POOL_BYTES ((uint64_t)1 << 20) /* the producer's prepared payloads, written from again and again */
#define DEADLINE_S 60                  /* a run that hangs ends itself */
#define SPINS_BEFORE_YIELD 2000
#define WRONG_ANSWER 3 /* the exit code that tells the harness so */

struct meeting {
    _Atomic uint32_t ready, go;
    _Atomic uint64_t begin_ns, end_ns;
    struct payload_sum sum;
};

struct side {
    const struct core_contender *contender;
    const struct core_plan *plan;
    struct meeting *meeting;
    void *prepared;
};

void fail(const char *what)
{
    perror(what);
    _exit(1);
}

uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void *shared_pages(uint64_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (pages == MAP_FAILED)
        fail("mmap");
    return pages;
}

void wait_more(struct waiting *waiting)
{
    if (++waiting->rounds > SPINS_BEFORE_YIELD) {
        waiting->rounds = 0;
        sched_yield(); /* two sides on one core: let the other one run */
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

void keep_to_core(unsigned nth)
{
    cpu_set_t allowed, one;
    unsigned seen = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed) || CPU_COUNT(&allowed) < 2)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && seen++ == nth) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof one, &one);
            return;
        }
    }
}

static void meet(struct meeting *meeting)
{
    struct waiting waiting = {0};
    atomic_fetch_add(&meeting->ready, 1);
    while (!atomic_load(&meeting->go))
        wait_more(&waiting);
}

static uint64_t pool_records(const struct core_plan *plan)
{
    uint64_t records = POOL_BYTES / plan->size / plan->batch * plan->batch;
    return records ? records : plan->batch;
}

static uint64_t produce_some(struct side *side, void *end, const char *from, uint64_t count)
{
    struct waiting waiting = {0};
    uint64_t taken = 0;
    while (taken < count) {
        uint64_t now = side->contender->write(end, from + taken * side->plan->size, count - taken);
        taken += now;
        if (!now)
            wait_more(&waiting);
    }
    return taken;
}

static void *produce(void *argument)
{
    struct side *side = argument;
    const struct core_plan *plan = side->plan;
    keep_to_core(0);
    void *end = side->contender->produce_on(side->prepared, plan);
    uint64_t pool = pool_records(plan), size = plan->size, sent = 0, next = 0;
    char *payloads = aligned_alloc(4096, (pool * size + 4095) & ~4095ull);
    for (uint64_t i = 0; i < pool; i++)
        payload_fill(payloads + i * size, size, i);
    meet(side->meeting);
    while (sent < plan->records) {
        uint64_t count = plan->records - sent < plan->batch ? plan->records - sent : plan->batch;
        if (plan->look == LOOK_VERIFY)
            for (uint64_t i = 0; i < count; i++)
                payload_fill(payloads + (next + i) * size, size, sent + i);
        sent += produce_some(side, end, payloads + next * size, count);
        next = next + plan->batch >= pool ? 0 : next + plan->batch;
    }
    free(payloads);
    return NULL;
}

static void consume(struct side *side)
{
    const struct core_plan *plan = side->plan;
    keep_to_core(1);
    void *end = side->contender->consume_on(side->prepared, plan);
    struct payload_sum sum = {.look = plan->look, .size = plan->size};
    struct waiting waiting = {0};
    meet(side->meeting);
    while (sum.seen < plan->records) {
        if (!side->contender->read(end, plan->batch, &sum))
            wait_more(&waiting);
    }
    atomic_store(&side->meeting->end_ns, clock_ns());
    side->meeting->sum = sum;
}

static uint64_t expected_sum(const struct core_plan *plan)
{
    uint64_t pool = pool_records(plan), size = plan->size, total = 0;
    char *record = malloc(size);
    for (uint64_t i = 0; i < pool; i++) {
        uint64_t times = plan->records / pool + (i < plan->records % pool);
        payload_fill(record, size, i);
        uint64_t one = plan->look == LOOK_READ ? sum_words(record, size) : word_at(record) + word_at(record + size - 8);
        total += one * times;
    }
    free(record);
    return total;
}

static void start(struct meeting *meeting)
{
    struct waiting waiting = {0};
    while (atomic_load(&meeting->ready) < 2)
        wait_more(&waiting);
    atomic_store(&meeting->begin_ns, clock_ns());
    atomic_store(&meeting->go, 1);
}

static void *start_thread(void *meeting)
{
    start(meeting);
    return NULL;
}

/* Seconds from the start signal to the last record; negative when a payload was wrong. */
static double run(const struct core_contender *contender, const struct core_plan *plan)
{
    struct meeting *meeting = shared_pages(sizeof *meeting);
    struct side side = {contender, plan, meeting, contender->prepare(plan)};
    pthread_t producer, starter;
    pid_t child = 0;
    if (!side.prepared)
        fail("this contender does not take records of that size");
    if (contender->threads) {
        if (pthread_create(&producer, NULL, produce, &side))
            fail("pthread_create");
    } else if ((child = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(DEADLINE_S);
        produce(&side);
        _exit(0);
    }
    if (pthread_create(&starter, NULL, start_thread, meeting))
        fail("pthread_create");
    consume(&side);
    pthread_join(starter, NULL);
    if (child)
        waitpid(child, NULL, 0);
    else
        pthread_join(producer, NULL);
    contender->done(side.prepared);
    double seconds = (double)(meeting->end_ns - meeting->begin_ns) / 1e9;
    struct payload_sum sum = meeting->sum;
    munmap(meeting, sizeof *meeting);
    if (sum.wrong || sum.seen != plan->records || (plan->look != LOOK_VERIFY && sum.sum != expected_sum(plan)))
        return -1;
    return seconds;
}

static uint64_t number_of(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*end || !value) {
        fprintf(stderr, "not a positive number: %s\n", text);
        _exit(2);
    }
    return value;
}

void core_print(const char *name, const char *how, const struct core_plan *plan, const char *look, double seconds)
{
    printf("{\"contender\": \"%s\", \"how\": \"%s\", \"record_bytes\": %llu, \"ring_bytes\": %llu, \"batch\": %llu, "
           "\"look\": \"%s\", \"records_per_s\": %.0f, \"seconds\": %.6f, \"work\": %llu, "
           "\"figures\": {\"payload_bytes_per_s\": %.0f}}\n",
           name, how, (unsigned long long)plan->size, (unsigned long long)plan->ring_bytes, (unsigned long long)plan->batch,
           look, (double)plan->records / seconds, seconds, (unsigned long long)plan->records,
           (double)plan->records * (double)plan->size / seconds);
}

int core_main(int argc, char **argv, const struct core_contender *contender)
{
    struct core_plan plan = {.look = LOOK_READ};
    double seconds;
    if (argc < 6) {
        fprintf(stderr, "usage: %s RECORD_BYTES RECORDS RING_BYTES BATCH verify|read|touch\n", argv[0]);
        return 2;
    }
    alarm(DEADLINE_S);
    plan.size = number_of(argv[1]);
    plan.records = number_of(argv[2]);
    plan.ring_bytes = number_of(argv[3]);
    plan.batch = number_of(argv[4]);
    if (plan.size % 8) {
        fprintf(stderr, "a record is a multiple of 8 bytes\n");
        return 2;
    }
    plan.look = !strcmp(argv[5], "verify") ? LOOK_VERIFY : !strcmp(argv[5], "touch") ? LOOK_TOUCH : LOOK_READ;
    seconds = run(contender, &plan);
    if (seconds < 0) {
        fprintf(stderr, "%s: a record was lost, torn or out of order\n", contender->name);
        return WRONG_ANSWER;
    }
    core_print(contender->name, contender->how, &plan, argv[5], seconds);
    return 0;
}
