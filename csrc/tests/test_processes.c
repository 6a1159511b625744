/* Two processes. One is killed in the middle: no record is lost, doubled, torn or reordered. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "scratch_ring.h"

#define BATCH 50
#define WORD_NEXT 8 /* of the consumer: the number of the record that it wants next */

static uint32_t length_of(uint64_t number)
{
    uint64_t state = number;
    return 8 + (uint32_t)(check_random(&state) % (number % 100 == 99 ? 3000 : 120));
}

static void fill(char *to, uint64_t number, uint32_t length)
{
    memcpy(to, &number, 8);
    for (uint32_t i = 8; i < length; i++)
        to[i] = (char)(number + i);
}

static void verify(const char *from, uint64_t number, uint32_t length)
{
    uint64_t written;
    memcpy(&written, from, 8);
    CHECK_EQ(written, number);
    CHECK_EQ(length, length_of(number));
    for (uint32_t i = 8; i < length; i++)
        CHECK_EQ(from[i], (char)(number + i));
}

struct task {
    char name[32];
    uint64_t first, records;
    int sleeps;
};

static void write_records(void *argument)
{
    const struct task *task = argument;
    struct scratch_ring ring;
    char payload[4096];
    scratch_attach(&ring, task->name);
    scratch_take_producer(&ring);
    child_say('p');
    for (uint64_t number = task->first; number < task->first + task->records; number++) {
        uint32_t length = length_of(number);
        int wrote;
        fill(payload, number, length);
        while ((wrote = kr_producer_write(ring.producer, payload, length)) == 0)
            if (task->sleeps)
                kr_producer_wait(ring.producer, length, -1);
            else
                sched_yield();
        if (wrote < 0) /* the consumer was killed: a new producer sends the rest to the next one */
            _exit(0);
    }
    kr_producer_close(ring.producer);
}

/* Reads the records from `number` on. Stores its progress before it gives the space back. */
static uint64_t read_some(struct scratch_ring *ring, uint64_t number)
{
    int64_t got = scratch_drain(ring, BATCH, UINT64_MAX);
    CHECK(got >= 0);
    if (!got)
        return number;
    for (uint64_t i = 0; i < (uint64_t)got; i++)
        verify(scratch_payload(ring, i), number + i, scratch_length(ring, i));
    CHECK_EQ(kr_consumer_set_word(ring->consumer, WORD_NEXT, number + (uint64_t)got), 0);
    CHECK_EQ(scratch_release_all(ring), 0);
    return number + (uint64_t)got;
}

static void read_records(void *argument)
{
    const struct task *task = argument;
    struct scratch_ring ring;
    scratch_attach(&ring, task->name);
    scratch_take_consumer(&ring);
    child_say('c');
    while (kr_consumer_wait(ring.consumer, -1, 5000) != KR_WAIT_READY)
        ;
    /* A predecessor that was killed between its word and its release has read records that come again. */
    uint64_t number;
    CHECK_EQ(scratch_drain(&ring, 1, UINT64_MAX), 1);
    memcpy(&number, scratch_payload(&ring, 0), 8);
    CHECK(number <= task->first && task->first - number <= BATCH);
    CHECK_EQ(kr_consumer_release(ring.consumer, ring.batch.position, 0, 1), 0);
    do
        number = read_some(&ring, number);
    while (kr_consumer_wait(ring.consumer, -1, 5000) != KR_WAIT_GONE);
}

static void every_record_arrives_in_another_process(void)
{
    for (int sleeps = 0; sleeps < 2; sleeps++)
        for (uint64_t capacity = 4096; capacity <= 1 << 20; capacity <<= 8) {
            struct scratch_ring ring;
            struct child child;
            struct task task = {.records = check_rounds(20000), .sleeps = sleeps};
            scratch_create(&ring, capacity);
            scratch_take_consumer(&ring);
            strcpy(task.name, ring.name);
            child_start(&child, write_records, &task);
            uint64_t number = 0;
            do
                number = read_some(&ring, number);
            while (kr_consumer_wait(ring.consumer, -1, 5000) != KR_WAIT_GONE);
            CHECK_EQ(number, task.records);
            child_end(&child);
            scratch_close(&ring);
        }
}

static void a_killed_producer_loses_nothing_that_it_published(void)
{
    struct scratch_ring ring;
    uint64_t number = 0, state = 9;
    scratch_create(&ring, 8192);
    scratch_take_consumer(&ring);
    for (uint64_t round = check_rounds(60); round; round--) {
        struct child child;
        struct task task = {.first = number, .records = UINT32_MAX, .sleeps = (int)(round & 1)};
        strcpy(task.name, ring.name);
        child_start(&child, write_records, &task);
        CHECK_EQ(child_listen(&child), 'p');
        uint64_t until = kr_now_ns() + check_below(&state, 2000000);
        while (kr_now_ns() < until)
            number = read_some(&ring, number);
        child_kill(&child);
        int found;
        do {
            number = read_some(&ring, number);
            found = kr_consumer_wait(ring.consumer, -1, 0);
        } while (found != KR_WAIT_GONE);
        CHECK(WIFSIGNALED(child_reap(&child)));
    }
    CHECK(number > 100);
    scratch_close(&ring);
}

static void a_killed_consumer_is_followed_by_one_that_reads_on(void)
{
    struct scratch_ring ring;
    uint64_t next = 0, state = 10, sent = 0;
    char payload[4096];
    scratch_create(&ring, 8192);
    for (uint64_t round = check_rounds(60); round; round--) {
        struct child child;
        struct task task;
        kr_stats stats;
        scratch_take_producer(&ring);
        task = (struct task){.first = next};
        strcpy(task.name, ring.name);
        child_start(&child, read_records, &task);
        CHECK_EQ(child_listen(&child), 'c');
        uint64_t until = kr_now_ns() + check_below(&state, 3000000);
        int code = 0;
        while (kr_now_ns() < until) {
            uint32_t length = length_of(sent);
            fill(payload, sent, length);
            code = kr_producer_write(ring.producer, payload, length);
            CHECK(code >= 0);
            sent += (uint64_t)code;
            if (!code && (round & 1))
                CHECK(kr_producer_wait(ring.producer, length, 1000000) >= 0);
        }
        child_kill(&child);
        while ((code = kr_producer_wait(ring.producer, 8000, -1)) != KR_WAIT_GONE)
            CHECK(code == KR_WAIT_READY || code == KR_WAIT_INTERRUPTED);
        CHECK(WIFSIGNALED(child_reap(&child)));
        kr_map_stats(ring.map, &stats);
        CHECK(stats.consumer_words[WORD_NEXT] >= next);
        next = stats.consumer_words[WORD_NEXT];
        CHECK(next <= sent);
        kr_producer_free(ring.producer);
        ring.producer = NULL;
    }
    CHECK(sent > 100);
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(every_record_arrives_in_another_process),
    CASE(a_killed_producer_loses_nothing_that_it_published),
    CASE(a_killed_consumer_is_followed_by_one_that_reads_on),
};
CHECK_MAIN(cases)
