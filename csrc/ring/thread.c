/* Threads of the core, and how they sleep. They call no Python and take no signals. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/ring.h"

#define STACK_BYTES (256u << 10) /* virtual; with room for a large static TLS block of the process */

/* Starts a thread. 0, or an errno. */
int kr_thread_start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes))
        return ENOMEM;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all); /* signals are for the threads of the application */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, &attributes, run, argument);
    pthread_attr_destroy(&attributes);
    if (failed == EINVAL) /* static TLS larger than the stack: take the default */
        failed = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

/* Sleeps while `*word` is `value`, until a wake-up, a signal or `timeout_ns` (negative: no limit). */
void kr_futex_wait(kr_word32 *word, uint32_t value, int64_t timeout_ns)
{
    struct timespec time = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns < 0 ? NULL : &time, NULL, 0);
}

void kr_futex_wake(kr_word32 *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }
