/* Roles, and the death of their holders. The kernel reports a death; a timeout never means one.
 *
 * The word of a claim is a robust futex (Linux: Documentation/locking/robust-futex-ABI.rst). A native thread of
 * the holding process enters it in its robust list and sleeps. When the process dies in any way, the kernel walks the list
 * and marks the word, and the peer sees that with one load. A stopped process is not dead; a zombie is. A forked child
 * inherits neither the thread nor the list. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/ring.h"

uint32_t kr_generation; /* changes in a forked child before it has a second thread */
static kr_word32 forks_made;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void forked_here(void) { count_up32(&forks_made); }
static void forked_away(void) { kr_generation++; }
static void watch_forks(void) { pthread_atfork(NULL, forked_here, forked_away); }

uint32_t kr_generation_watched(void)
{
    pthread_once(&fork_once, watch_forks);
    return kr_generation;
}

/* How often this process has forked since the first call. */
uint32_t kr_forks_made(void)
{
    pthread_once(&fork_once, watch_forks);
    return load_relaxed32(&forks_made);
}

/* Field 22 of /proc/PID/stat; the state is field 3. 0 if there is no such process. */
static uint64_t process_start(uint32_t pid, char *state)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = 0;
    char *cursor = strrchr(text, ')'); /* the command may hold spaces and parentheses */
    if (!cursor || cursor[1] != ' ')
        return 0;
    *state = cursor[2];
    for (int field = 2; field < 22 && cursor; field++)
        cursor = strchr(cursor + 1, ' ');
    return cursor ? strtoull(cursor + 1, NULL, 10) : 0;
}

uint64_t kr_process_start(uint32_t pid)
{
    char state;
    return process_start(pid, &state);
}

/* The start time of this process. 0, or an errno: if a limit prevents the reading. It is needed to tell this process from a
 * later one with the same pid. If the system shows no processes, it is 0, which is no failure. */
int kr_own_start(uint64_t *start)
{
    errno = 0;
    *start = kr_process_start((uint32_t)getpid());
    return *start || errno == ENOENT ? 0 : errno;
}

int kr_process_alive(uint32_t pid, uint64_t start)
{
    char state = 0;
    uint64_t found = process_start(pid, &state);
    return found != 0 && found == start && state != 'Z' && state != 'X';
}

struct holder_start {
    struct kr_role *role;
    uint32_t seen;
    kr_word32 answered;
    int taken;
};

/* The thread that holds a role. Its robust list replaces libc's, for this thread only, which takes no robust mutex of libc.
 * Before it returns it puts libc's list back: the kernel walks the list of an ending thread, whose stack belongs to libc
 * again by then. The list is private memory, so a hostile peer cannot change where the kernel walks. It is volatile, because
 * the kernel may read it between any two stores. */
static void *hold(void *argument)
{
    struct holder_start *start = argument;
    struct kr_role *role = start->role;
    struct kr_claim *claim = role->claim;
    volatile struct robust_list node;
    volatile struct robust_list_head list;
    struct robust_list *first = (struct robust_list *)&node, *none = (struct robust_list *)&list.list;
    struct robust_list_head *of_libc = NULL;
    size_t of_libc_bytes;
    uint32_t tid = (uint32_t)syscall(SYS_gettid);

    list.list.next = none;
    list.futex_offset = (long)((char *)&claim->word - (char *)first);
    list.list_op_pending = first; /* from here on a death marks the word if it is ours, even before it is in the list */
    node.next = none;
    syscall(SYS_get_robust_list, 0, &of_libc, &of_libc_bytes);
    int registered = syscall(SYS_set_robust_list, &list, sizeof list) == 0;
    int taken = registered && compare_exchange32(&claim->word, start->seen, tid);
    KR_POINT(31);
    if (taken)
        list.list.next = first;
    list.list_op_pending = NULL;
    start->taken = taken;
    role->failure = registered ? 0 : errno;
    store_release32(&start->answered, 1);
    kr_futex_wake(&start->answered);

    while (taken && load_acquire32(&role->command) == 0)
        kr_futex_wait(&role->command, 0, -1);
    if (taken) {
        list.list_op_pending = first;
        list.list.next = none;
        KR_POINT(34);
        /* Pairs with kr_peer_gone(): a peer that sees the role given up sees all that its holder published. */
        store_release32(&claim->word, role->final_word);
        KR_POINT(35);
    }
    syscall(SYS_set_robust_list, of_libc, sizeof list);
    return NULL;
}

static int refuse_as_taken(kr_failure *why, const struct kr_claim *claim)
{
    why->pid = load_acquire32(&claim->pid);
    return kr_refuse(why, KR_E_TAKEN, 0);
}

int kr_role_take(struct kr_role *role, struct kr_claim *claim, kr_failure *why)
{
    uint32_t seen = load_acquire32(&claim->word);
    if (seen != KR_ROLE_VACANT && seen != KR_ROLE_CLOSED && !(seen & KR_ROLE_DEAD))
        return refuse_as_taken(why, claim);
    struct holder_start start = {.role = role, .seen = seen};
    uint64_t own_start;
    role->claim = claim;
    store_relaxed32(&role->command, 0);
    int failed = kr_own_start(&own_start);
    if (!failed)
        failed = kr_thread_start(&role->thread, hold, &start);
    if (failed)
        return kr_refuse(why, KR_E_SYSTEM, failed);
    while (load_acquire32(&start.answered) == 0)
        kr_futex_wait(&start.answered, 0, -1);
    if (!start.taken) {
        pthread_join(role->thread, NULL);
        if (role->failure)
            return kr_refuse(why, KR_E_SYSTEM, role->failure);
        return refuse_as_taken(why, claim);
    }
    KR_POINT(32);
    uint32_t pid = (uint32_t)getpid();
    store_release32(&claim->pid, pid);
    store_release(&claim->start, own_start);
    KR_POINT(33);
    /* Pairs with kr_peer_look(): a peer that sees the new epoch sees the new pid and start time. */
    store_release(&claim->epoch, load_relaxed(&claim->epoch) + 1);
    return 0;
}

void kr_role_release(struct kr_role *role, uint32_t final_word)
{
    role->final_word = final_word;
    store_release32(&role->command, 1);
    kr_futex_wake(&role->command);
    pthread_join(role->thread, NULL);
}

void kr_role_read(const struct kr_claim *claim, kr_role_info *out)
{
    uint32_t word = load_acquire32(&claim->word);
    out->epoch = load_acquire(&claim->epoch);
    out->pid = load_acquire32(&claim->pid);
    out->start = load_acquire(&claim->start);
    out->state = word == KR_ROLE_VACANT ? 0u : word == KR_ROLE_CLOSED ? 3u : (word & KR_ROLE_DEAD) ? 2u : 1u;
}
