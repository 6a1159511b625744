/* Two processes that wake each other with a futex: what the kernel itself takes to wake a sleeper.
 * Prints half round trips as the latency case does. Arguments: seconds, 1 to spin instead of sleeping. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_SAMPLES (4u << 20)

typedef struct {
    _Alignas(128) _Atomic uint32_t turn; /* odd: the echo's, even: the caller's */
    _Alignas(128) _Atomic uint32_t over;
} table;

static int spins;

static uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void stay_on(int core)
{
    cpu_set_t all, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all))
        return;
    int count = CPU_COUNT(&all), wanted = core % count;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && wanted-- == 0)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void give(table *shared, uint32_t turn)
{
    atomic_store_explicit(&shared->turn, turn, memory_order_release);
    if (!spins)
        syscall(SYS_futex, &shared->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await(table *shared, uint32_t turn)
{
    uint32_t seen;
    while ((seen = atomic_load_explicit(&shared->turn, memory_order_acquire)) != turn)
        if (!spins)
            syscall(SYS_futex, &shared->turn, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void echo(table *shared)
{
    stay_on(1);
    for (uint32_t turn = 1;; turn += 2) {
        await(shared, turn);
        give(shared, turn + 1);
        if (atomic_load(&shared->over))
            _exit(0);
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0.3;
    spins = argc > 2 && atoi(argv[2]);
    table *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t *samples = malloc(MOST_SAMPLES * sizeof *samples);
    if (shared == MAP_FAILED || !samples)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        echo(shared);
    }
    if (child < 0)
        return 1;
    stay_on(0);
    uint64_t count = 0, ends = now_ns() + (uint64_t)(seconds * 1e9), before = now_ns(), first = before;
    for (uint32_t turn = 0; count < MOST_SAMPLES; turn += 2) {
        int last = before >= ends;
        if (last)
            atomic_store(&shared->over, 1);
        give(shared, turn + 1);
        await(shared, turn + 2);
        uint64_t after = now_ns();
        samples[count++] = after - before;
        before = after;
        if (last)
            break;
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    qsort(samples, count, sizeof *samples, by_size);
#define AT(q) ((double)samples[(uint64_t)((q) * (double)(count - 1))] / 2000)
    printf("{\"seconds\": %.6f, \"work\": %llu, \"figures\": {\"p50\": %.4f, \"p99\": %.4f, \"p99.9\": %.4f}}\n",
           (double)(before - first) / 1e9, (unsigned long long)count, AT(0.5), AT(0.99), AT(0.999));
    return 0;
}
