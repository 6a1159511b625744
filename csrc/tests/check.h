/* For all native tests: a check that ends the program, named cases, and a limit for every wait. */
#ifndef KR_CHECK_H
#define KR_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
#define CHECK_EQ(left, right) check_equal(__FILE__, __LINE__, #left, (int64_t)(left), #right, (int64_t)(right))

struct check_case {
    const char *name;
    void (*run)(void);
};
#define CASE(function) {#function, function}

/* Runs the cases named on the command line, or all. SIGALRM ends the program when a case
 * takes longer than CHECK_SECONDS of the environment. */
#define CHECK_SECONDS 50
int check_main(int argc, char **argv, const struct check_case *cases, size_t count);
#define CHECK_MAIN(cases) \
    int main(int argc, char **argv) { return check_main(argc, argv, cases, sizeof(cases) / sizeof(cases)[0]); }

void check_failed(const char *file, int line, const char *what) __attribute__((noreturn));
void check_equal(const char *file, int line, const char *left_text, int64_t left, const char *right_text, int64_t right);

/* `rounds` times the environment's LOOPS, which may be a fraction. At least 1. */
uint64_t check_rounds(uint64_t rounds);

/* A small seeded generator: the same numbers on every machine. */
uint64_t check_random(uint64_t *state);
static inline uint64_t check_below(uint64_t *state, uint64_t limit) { return check_random(state) % limit; }

/* Calls `undo` after each case, and when the program ends in any way but by SIGKILL. */
void check_at_end(void (*undo)(void));

void check_sleep_ms(unsigned milliseconds);
int check_open_descriptors(void);

/* Another process. It runs `body` and exits. It also ends with its parent, and after the seconds of a case. */
struct child {
    pid_t pid;
    int to_child, from_child; /* the parent's ends of two pipes */
};
void child_start(struct child *child, void (*body)(void *), void *argument);
void child_say(char word);  /* in the child */
char child_hear(void);      /* in the child */
void child_tell(struct child *child, char word);
char child_listen(struct child *child); /* 0: the child ended without a word */
void child_kill(struct child *child);   /* SIGKILL; it stays a zombie */
int child_reap(struct child *child);    /* its wait status */
void child_end(struct child *child);    /* waits for it; its exit code must be 0 */

#endif
