#define _GNU_SOURCE
#include "sides.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POOL_BYTES ((uint64_t)1 << 20) /* the producer's prepared payloads, which it sends again and again */
#define DEADLINE_S 60                  /* a run that hangs ends itself */
#define SPINS_BEFORE_YIELD 2000
#define WRONG_ANSWER 3

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

int wrong_answer(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return WRONG_ANSWER;
}

void print_result(double seconds, uint64_t work, const char *figures, ...)
{
    va_list values;
    va_start(values, figures);
    printf("{\"seconds\": %.6f, \"work\": %llu, \"figures\": {", seconds, (unsigned long long)work);
    vprintf(figures, values);
    printf("}}\n");
    va_end(values);
}

uint64_t argument(int argc, char **argv, int place)
{
    char *end = "?";
    uint64_t value = place < argc ? strtoull(argv[place], &end, 10) : 0;
    if (*end || !value) {
        fprintf(stderr, "%s: argument %d must be a positive number; its source says which\n", argv[0], place);
        _exit(2);
    }
    return value;
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
        sched_yield(); /* if both sides are on one core, the other one can run */
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

void meet(struct meeting *meeting)
{
    struct waiting waiting = {0};
    if (atomic_fetch_add(&meeting->here, 1) == 1)
        atomic_store(&meeting->begin_ns, clock_ns());
    while (!atomic_load(&meeting->begin_ns))
        wait_more(&waiting);
}

double met_seconds(const struct meeting *meeting) { return (double)(meeting->end_ns - meeting->begin_ns) / 1e9; }

pid_t part(void (*produce)(void *job), void *job)
{
    alarm(DEADLINE_S);
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(DEADLINE_S);
        keep_to_core(0);
        produce(job);
        _exit(0);
    }
    keep_to_core(1);
    return child;
}

void join(pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    if (status) {
        fprintf(stderr, "the producer ended with status %d\n", status);
        _exit(1);
    }
}

static uint64_t pool_records(const struct core_plan *plan)
{
    uint64_t records = POOL_BYTES / plan->size / plan->batch * plan->batch;
    return records ? records : plan->batch;
}

static void produce(void *argument)
{
    struct side *side = argument;
    const struct core_plan *plan = side->plan;
    const struct core_contender *contender = side->contender;
    void *end = contender->produce_on ? contender->produce_on(side->prepared, plan) : side->prepared;
    uint64_t pool = pool_records(plan), size = plan->size, next = 0;
    char *payloads = aligned_alloc(4096, (pool * size + 4095) & ~4095ull);
    for (uint64_t i = 0; i < pool; i++)
        payload_fill(payloads + i * size, size, i);
    meet(side->meeting);
    for (uint64_t sent = 0; sent < plan->records;) {
        uint64_t count = plan->records - sent < plan->batch ? plan->records - sent : plan->batch, taken = 0;
        struct waiting waiting = {0};
        for (uint64_t i = 0; plan->look == LOOK_VERIFY && i < count; i++)
            payload_fill(payloads + (next + i) * size, size, sent + i);
        while (taken < count) {
            uint64_t now = contender->write(end, payloads + (next + taken) * size, count - taken);
            taken += now;
            if (!now)
                wait_more(&waiting);
        }
        sent += count;
        next = next + plan->batch >= pool ? 0 : next + plan->batch;
    }
    free(payloads);
}

static void *produce_in_thread(void *side)
{
    keep_to_core(0);
    produce(side);
    return NULL;
}

static void consume(struct side *side)
{
    const struct core_plan *plan = side->plan;
    const struct core_contender *contender = side->contender;
    void *end = contender->consume_on ? contender->consume_on(side->prepared, plan) : side->prepared;
    struct payload_sum sum = {.look = plan->look, .size = plan->size};
    struct waiting waiting = {0};
    meet(side->meeting);
    while (sum.seen < plan->records) {
        if (!contender->read(end, plan->batch, &sum))
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
        total += times * (plan->look == LOOK_READ ? sum_words(record, size) : word_at(record) + word_at(record + size - 8));
    }
    free(record);
    return total;
}

int core_main(int argc, char **argv, const struct core_contender *contender)
{
    struct core_plan plan = {argument(argc, argv, 1), argument(argc, argv, 2), argument(argc, argv, 3), argument(argc, argv, 4), LOOK_READ};
    const char *look = argc > 5 ? argv[5] : "read";
    plan.look = !strcmp(look, "verify") ? LOOK_VERIFY : !strcmp(look, "touch") ? LOOK_TOUCH : LOOK_READ;
    struct meeting *meeting = shared_pages(sizeof *meeting);
    struct side side = {contender, &plan, meeting, plan.size % 8 ? NULL : contender->prepare(&plan)};
    pthread_t producer;
    pid_t child = 0;
    if (!side.prepared)
        fail("this contender does not take records of that size");
    if (!contender->threads)
        child = part(produce, &side);
    else if (pthread_create(&producer, NULL, produce_in_thread, &side))
        fail("pthread_create");
    else
        keep_to_core(1);
    consume(&side);
    if (child)
        join(child);
    else
        pthread_join(producer, NULL);
    if (contender->done)
        contender->done(side.prepared);
    struct payload_sum sum = meeting->sum;
    if (sum.wrong || sum.seen != plan.records || (plan.look != LOOK_VERIFY && sum.sum != expected_sum(&plan)))
        return wrong_answer("a record was lost, torn or out of order");
    double seconds = met_seconds(meeting);
    print_result(seconds, plan.records, "\"payload_bytes_per_s\": %.0f", (double)plan.records * (double)plan.size / seconds);
    return 0;
}
