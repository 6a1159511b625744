/* One producer and one consumer, in two processes or two threads, timed from a common start to the last record. */
#ifndef BENCH_SIDES_H
#define BENCH_SIDES_H

#include <stdint.h>

#include "payload.h"

#ifdef __cplusplus
extern "C" {
#endif

struct core_plan {
    uint64_t size;       /* bytes of a record */
    uint64_t records;
    uint64_t ring_bytes; /* what each contender may use for payloads */
    uint64_t batch;      /* records per call, where a contender takes several */
    enum payload_look look;
};

struct core_contender {
    const char *name;
    int threads;     /* 1: it cannot cross processes */
    const char *how; /* which of its interfaces is used */
    void *(*prepare)(const struct core_plan *plan); /* before the two sides part; NULL: not for this size */
    void *(*produce_on)(void *prepared, const struct core_plan *plan);
    void *(*consume_on)(void *prepared, const struct core_plan *plan);
    /* Up to `count` records that lie back to back; returns how many were taken, 0 when full. */
    uint64_t (*write)(void *side, const char *joined, uint64_t count);
    /* Up to `most` records, each of them shown to payload_seen(); returns how many, 0 when empty. */
    uint64_t (*read)(void *side, uint64_t most, struct payload_sum *sum);
    void (*done)(void *prepared);
};

/* Parses the command line, verifies, measures and prints one line of JSON. The exit code of the program. */
int core_main(int argc, char **argv, const struct core_contender *contender);

/* The line of JSON. */
void core_print(const char *name, const char *how, const struct core_plan *plan, const char *look, double seconds);

/* Each side on a core of its own, where there are two: a scheduler that puts both on one measures itself. */
void keep_to_core(unsigned nth);

/* Memory that a child process shares. */
void *shared_pages(uint64_t bytes);
uint64_t clock_ns(void);
void fail(const char *what);

/* Polite spinning: both sides of every contender wait in this way and no other. */
struct waiting {
    uint32_t rounds;
};
void wait_more(struct waiting *waiting);

#ifdef __cplusplus
}
#endif

#endif
