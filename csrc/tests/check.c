/* The runner of the native tests. */
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static const char *volatile running = "start";
static void (*undo_at_end)(void);
static int child_in = -1, child_out = -1;

static void undo(void)
{
    if (undo_at_end)
        undo_at_end();
}

void check_at_end(void (*function)(void)) { undo_at_end = function; }

/* The functions below call only what is safe in a signal handler. */
static void stop(int signal_number)
{
    static const char text[] = "stopped while running: ";
    ssize_t ignored = write(2, text, sizeof text - 1);
    ignored = write(2, running, strlen(running));
    ignored = write(2, "\n", 1);
    (void)ignored, (void)signal_number;
    undo();
    _exit(3);
}

static void fail(void)
{
    fflush(NULL);
    undo();
    _exit(1); /* not exit(): other threads still run */
}

void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s: not true: %s\n", file, line, running, what);
    fail();
    abort();
}

void check_equal(const char *file, int line, const char *left_text, int64_t left, const char *right_text, int64_t right)
{
    if (left == right)
        return;
    fprintf(stderr, "%s:%d: %s: %s == %lld, but %s == %lld\n", file, line, running, left_text, (long long)left,
            right_text, (long long)right);
    fail();
}

static unsigned seconds(void)
{
    const char *limit = getenv("CHECK_SECONDS");
    return limit && atoi(limit) > 0 ? (unsigned)atoi(limit) : CHECK_SECONDS;
}

uint64_t check_rounds(uint64_t rounds)
{
    const char *factor = getenv("LOOPS");
    double times = factor && *factor ? atof(factor) : 1;
    rounds = (uint64_t)((double)rounds * times);
    return rounds ? rounds : 1;
}

uint64_t check_random(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

void check_sleep_ms(unsigned milliseconds)
{
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&left, &left))
        ;
}

int check_open_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

int check_main(int argc, char **argv, const struct check_case *cases, size_t count)
{
    int ran = 0;
    static const int ends[] = {SIGALRM, SIGTERM, SIGINT, SIGHUP, SIGSEGV, SIGBUS, SIGABRT};
    int own = !__sanitizer_set_death_callback; /* a sanitizer reports a crash itself, and then calls back */
    if (!own)
        __sanitizer_set_death_callback(undo);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (own || i < 4)
            signal(ends[i], stop);
    for (size_t i = 0; i < count; i++) {
        int wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], cases[i].name) == 0;
        if (!wanted)
            continue;
        running = cases[i].name;
        alarm(seconds());
        cases[i].run();
        alarm(0);
        undo();
        ran++;
    }
    printf("%s: %d cases\n", strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0], ran);
    return ran ? 0 : 2;
}

void child_start(struct child *child, void (*body)(void *), void *argument)
{
    int down[2], up[2];
    CHECK(!pipe(down) && !pipe(up));
    fflush(NULL);
    child->pid = fork();
    CHECK(child->pid >= 0);
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == 1)
            _exit(1);
        alarm(seconds());
        close(down[1]);
        close(up[0]);
        child_in = down[0];
        child_out = up[1];
        body(argument);
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    child->to_child = down[1];
    child->from_child = up[0];
}

void child_say(char word) { CHECK(write(child_out, &word, 1) == 1); }

char child_hear(void)
{
    char word = 0;
    return read(child_in, &word, 1) == 1 ? word : 0;
}

void child_tell(struct child *child, char word) { CHECK(write(child->to_child, &word, 1) == 1); }

char child_listen(struct child *child)
{
    char word = 0;
    return read(child->from_child, &word, 1) == 1 ? word : 0;
}

void child_kill(struct child *child) { CHECK(!kill(child->pid, SIGKILL)); }

int child_reap(struct child *child)
{
    int status = 0;
    CHECK(waitpid(child->pid, &status, 0) == child->pid);
    close(child->to_child);
    close(child->from_child);
    return status;
}

void child_end(struct child *child)
{
    int status = child_reap(child);
    CHECK_EQ(status, 0);
}
