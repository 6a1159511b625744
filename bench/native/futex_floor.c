/* The bound of `latency`: two processes that wake each other with a futex, or that spin on one word. No record is sent.
 *
 *   futex_floor MILLISECONDS [spin] */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sides.h"

#define MOST_SAMPLES (4u << 20)

static struct table {
    _Alignas(128) _Atomic uint32_t turn; /* odd: the caller gave it, even: the echo gave it back */
    _Alignas(128) _Atomic uint32_t over;
} *table;
static int spins;

static void give(uint32_t turn)
{
    atomic_store_explicit(&table->turn, turn, memory_order_release);
    if (!spins)
        syscall(SYS_futex, &table->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await(uint32_t turn)
{
    uint32_t seen;
    while ((seen = atomic_load_explicit(&table->turn, memory_order_acquire)) != turn)
        if (!spins)
            syscall(SYS_futex, &table->turn, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void echo(void *nothing)
{
    (void)nothing;
    uint32_t over = 0;
    for (uint32_t turn = 1; !over; turn += 2) {
        await(turn);
        over = table->over; /* read before the turn is given back: the caller may set it for the next turn at once */
        give(turn + 1);
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    uint64_t took_ms = argument(argc, argv, 1), count = 0, *samples = malloc(MOST_SAMPLES * sizeof *samples);
    spins = argc > 2;
    table = shared_pages(sizeof *table);
    pid_t child = part(echo, NULL);
    uint64_t first = clock_ns(), before = first;
    for (uint32_t turn = 0; !table->over; turn += 2) {
        table->over = before >= first + took_ms * 1000000 || count + 1 == MOST_SAMPLES;
        give(turn + 1);
        await(turn + 2);
        uint64_t after = clock_ns();
        samples[count++] = after - before;
        before = after;
    }
    join(child);
    qsort(samples, count, sizeof *samples, by_size);
#define HALF_US(Q) ((double)samples[(uint64_t)((Q) * (double)(count - 1))] / 2000)
    print_result((double)(before - first) / 1e9, count, "\"p50\": %.4f, \"p99\": %.4f, \"p99.9\": %.4f", HALF_US(0.5), HALF_US(0.99), HALF_US(0.999));
    return 0;
}
