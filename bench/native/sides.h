/* What all native programs share: two sides that start together, the clock, and the line that says what was measured. */
#ifndef BENCH_SIDES_H
#define BENCH_SIDES_H

#include <stdint.h>
#include <sys/types.h>

#include "payload.h"

#ifdef __cplusplus
extern "C" {
#else
struct meeting {
    _Atomic uint32_t here;
    _Atomic uint64_t begin_ns, end_ns;
    struct payload_sum sum;
};

/* Both sides call it. The time begins when the second one is here. */
void meet(struct meeting *meeting);
double met_seconds(const struct meeting *meeting);
#endif

struct core_plan {
    uint64_t size, records;
    uint64_t ring_bytes; /* what each contender may use for payloads */
    uint64_t batch;      /* records of a call, where a contender takes several */
    enum payload_look look;
};

struct core_contender {
    int threads;                                                            /* 1: it cannot cross processes */
    void *(*prepare)(const struct core_plan *plan);                         /* NULL: not for records of this size */
    void *(*produce_on)(void *prepared, const struct core_plan *plan);      /* NULL: a side is what was prepared */
    void *(*consume_on)(void *prepared, const struct core_plan *plan);
    uint64_t (*write)(void *side, const char *joined, uint64_t count);      /* records taken, 0 when full */
    uint64_t (*read)(void *side, uint64_t most, struct payload_sum *sum);   /* records seen, 0 when empty */
    void (*done)(void *prepared);
};

/* RECORD_BYTES RECORDS RING_BYTES BATCH read|touch|verify: parses, checks, measures, prints. Returns the exit code. */
int core_main(int argc, char **argv, const struct core_contender *contender);

/* Runs `produce(job)` in a child on the first core. The caller continues on the second one. */
pid_t part(void (*produce)(void *job), void *job);
/* Waits for the child. Ends this program when the child failed. */
void join(pid_t child);

/* The line of JSON that the harness reads. `figures` is a printf format for the inside of an object. */
void print_result(double seconds, uint64_t work, const char *figures, ...);
/* Says on stderr what is wrong. Returns the exit code that tells the harness so. */
int wrong_answer(const char *what);
void fail(const char *what);

/* The argument of that place as a positive number; ends the program when it is none. */
uint64_t argument(int argc, char **argv, int place);
uint64_t clock_ns(void);
/* Keeps each side on its own core. With both on one core, the scheduler would be measured. */
void keep_to_core(unsigned nth);
/* Memory that a child process shares. */
void *shared_pages(uint64_t bytes);

/* One step of polite spinning. Both sides of every contender wait in this way and in no other. */
struct waiting {
    uint32_t rounds;
};
void wait_more(struct waiting *waiting);

#ifdef __cplusplus
}
#endif

#endif
