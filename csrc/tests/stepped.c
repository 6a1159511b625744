/* Traces a call by the processor's trap flag, with a signal after each instruction. Then stops at a chosen one by a
 * breakpoint instruction, because a signal for each would take minutes on a virtual machine. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"
#include "stepped.h"

#define TRACE_MAX 20000u

static struct stepped *running; /* during the call, but not during the move */
static int moved;

/* May itself be stopped at any instruction, by the move that it is about to make. */
static void move_now(void)
{
    struct stepped *call = running;
    if (__atomic_exchange_n(&moved, 1, __ATOMIC_SEQ_CST))
        return;
    running = NULL;
    call->move(call->argument);
    running = call;
}

/* The core sleeps only in ppoll(). Here it does not sleep: the event that would end the sleep happens first. */
int ppoll(struct pollfd *watched, nfds_t count, const struct timespec *time, const sigset_t *mask)
{
    static const struct timespec now = {0, 0};
    if (!running)
        return (int)syscall(SYS_ppoll, watched, count, time, mask, sizeof(uint64_t));
    move_now();
    int ready = (int)syscall(SYS_ppoll, watched, count, &now, NULL, 0);
    running->slept_for_ever |= ready == 0;
    return ready;
}

static int tracing;

/* A new thread would inherit the trap flag, but it must not be trapped. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
    int (*of_libc)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    struct stepped *call = running;
    running = NULL;
    *(void **)&of_libc = dlsym(RTLD_NEXT, "pthread_create");
    int failed = of_libc(thread, attributes, body, argument);
    running = call;
    if (call && tracing)
        raise(SIGTRAP);
    return failed;
}

/* A trap kills a thread that blocks all signals. */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    sigset_t wanted;
    if (set) {
        wanted = *set;
        if (how != SIG_UNBLOCK)
            sigdelset(&wanted, SIGTRAP);
    }
    return sigprocmask(how, set ? &wanted : NULL, before);
}

static void begin(struct stepped *call)
{
    moved = 0;
    call->slept_for_ever = 0;
    running = call;
}

static void end(struct stepped *call)
{
    running = NULL;
    if (!moved)
        call->move(call->argument);
}

#if defined(__x86_64__)

#define TRAP_FLAG 0x100
#define BREAKPOINT 0xcc

extern unsigned char __executable_start, etext;

static unsigned char *trace[TRACE_MAX];
static unsigned traced;
static unsigned char *place; /* of the breakpoint */
static unsigned char instead;
static volatile unsigned wanted; /* visits until the wanted one, itself included; 0: the breakpoint is gone */
static pthread_t caller;

static void record(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned char *at = (unsigned char *)registers[REG_RIP];
    (void)number, (void)info;
    registers[REG_EFL] = running ? registers[REG_EFL] | TRAP_FLAG : registers[REG_EFL] & ~(greg_t)TRAP_FLAG;
    if (running && at >= &__executable_start && at < &etext && traced < TRACE_MAX)
        trace[traced++] = at;
}

static void stop_here(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)number, (void)info;
    if (registers[REG_EFL] & TRAP_FLAG) { /* one instruction after an unwanted visit */
        registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
        if (wanted)
            *place = BREAKPOINT;
        return;
    }
    *place = instead;
    registers[REG_RIP] = (greg_t)(uintptr_t)place;
    if (!pthread_equal(pthread_self(), caller) || --wanted) /* the role's thread visits the same places */
        registers[REG_EFL] |= TRAP_FLAG;
    else
        move_now();
}

static void on_trap(void (*handle)(int, siginfo_t *, void *))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO;
    CHECK(!sigaction(SIGTRAP, &action, NULL));
}

unsigned stepped_trace(struct stepped *call)
{
    on_trap(record);
    traced = 0;
    tracing = 1;
    begin(call);
    raise(SIGTRAP); /* the handler sets the flag, and clears it after the call */
    call->answer = call->act(call->argument);
    end(call);
    tracing = 0;
    CHECK(traced < TRACE_MAX);
    return traced;
}

static void unprotect(unsigned char *at)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)at & ~(page - 1);
    CHECK(!mprotect((void *)from, page, PROT_READ | PROT_WRITE | PROT_EXEC));
}

void stepped_call(struct stepped *call, unsigned at)
{
    CHECK(at < traced);
    on_trap(stop_here);
    place = trace[at];
    caller = pthread_self();
    wanted = 0;
    for (unsigned i = 0; i <= at; i++)
        wanted += trace[i] == place;
    unprotect(place);
    instead = *place;
    begin(call);
    *(volatile unsigned char *)place = BREAKPOINT;
    call->answer = call->act(call->argument);
    wanted = 0;
    *(volatile unsigned char *)place = instead; /* the call may have taken another path this time */
    end(call);
}

#else

unsigned stepped_trace(struct stepped *call)
{
    begin(call);
    call->answer = call->act(call->argument);
    end(call);
    return 0;
}

void stepped_call(struct stepped *call, unsigned at)
{
    (void)call, (void)at;
}

#endif
