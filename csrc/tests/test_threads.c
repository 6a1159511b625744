/* Two or more threads with one mapping, for the thread sanitizer.
 *
 * A byte of the data area has two addresses. The sanitizer compares addresses, so both sides must use the same address
 * of a byte: no record crosses the end of the area, and no batch reaches beyond it. Lengths and bytes follow from the
 * number of a record (and its position), so both sides know them without communication. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "scratch_inbox.h"
#include "send_joined.h"

struct passage {
    struct scratch_ring ring;
    uint64_t records, largest; /* span of a record in bytes */
    int sleeps;
};

static uint64_t mixed(uint64_t number)
{
    uint64_t state = number;
    return check_random(&state);
}

/* The payload bytes of record `number` at `position`. */
static uint32_t length_of(const struct passage *passage, uint64_t number, uint64_t position)
{
    uint64_t capacity = passage->ring.map->capacity, room = capacity - (position & (capacity - 1));
    uint64_t span = 16 + 8 * (mixed(number) % (passage->largest / 8 - 1));
    if (span + 16 > room)
        span = room;
    return (uint32_t)(span == 16 ? 0 : span - 16 - mixed(number + 1) % 8);
}

static void fill(char *to, uint64_t number, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] = (char)(number * 31 + i);
}

static void verify(const char *from, uint64_t number, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        CHECK_EQ(from[i], (char)(number * 31 + i));
}

static void pause_for_space(struct passage *passage, uint32_t length)
{
    if (passage->sleeps)
        CHECK(kr_producer_wait(passage->ring.producer, length, -1) != KR_WAIT_GONE);
    else
        sched_yield();
}

static void *write_each(void *argument)
{
    struct passage *passage = argument;
    uint64_t position = 0;
    char *payload = malloc(passage->largest);
    for (uint64_t number = 0; number < passage->records; number++) {
        uint32_t length = length_of(passage, number, position);
        fill(payload, number, length);
        int wrote;
        while ((wrote = kr_producer_write(passage->ring.producer, payload, length)) == 0)
            pause_for_space(passage, length);
        CHECK_EQ(wrote, 1);
        position += kr_record_span(length);
    }
    free(payload);
    return NULL;
}

static void *write_runs(void *argument)
{
    enum { RUN = 16 };
    struct passage *passage = argument;
    uint64_t position = 0, number = 0;
    char *payload = malloc(RUN * passage->largest);
    while (number < passage->records) {
        uint32_t lengths[RUN];
        uint64_t total = 0, run = 0, end = position;
        for (; run < RUN && number + run < passage->records; run++) {
            lengths[run] = length_of(passage, number + run, end);
            fill(payload + total, number + run, lengths[run]);
            total += lengths[run];
            end += kr_record_span(lengths[run]);
        }
        int64_t done = kr_producer_write_many(passage->ring.producer, payload, total, lengths, run);
        CHECK(done >= 0);
        if (!done)
            pause_for_space(passage, lengths[0]);
        for (int64_t i = 0; i < done; i++)
            position += kr_record_span(lengths[i]);
        number += (uint64_t)done;
    }
    free(payload);
    return NULL;
}

static void *write_in_place(void *argument)
{
    struct passage *passage = argument;
    struct kr_producer *producer = passage->ring.producer;
    uint64_t position = 0;
    for (uint64_t number = 0; number < passage->records; number++) {
        uint32_t length = length_of(passage, number, position);
        int64_t index;
        while ((index = kr_producer_reserve(producer, length)) == KR_RESERVE_FULL) {
            CHECK_EQ(kr_producer_publish(producer), 0);
            pause_for_space(passage, length);
        }
        CHECK(index >= 0);
        fill(passage->ring.area + index, number, length);
        CHECK_EQ(kr_producer_commit(producer, length), 0);
        if (number % 5 == 0)
            CHECK_EQ(kr_producer_publish(producer), 0);
        position += kr_record_span(length);
    }
    CHECK_EQ(kr_producer_publish(producer), 0);
    return NULL;
}

static void read_all(struct passage *passage)
{
    struct scratch_ring *ring = &passage->ring;
    uint64_t number = 0, position = 0, capacity = ring->map->capacity;
    while (number < passage->records) {
        int64_t got = scratch_drain(ring, mixed(number) % 32 + 1, capacity - (position & (capacity - 1)));
        CHECK(got >= 0);
        if (!got) {
            if (passage->sleeps)
                CHECK(kr_consumer_wait(ring->consumer, -1, 0) != KR_WAIT_GONE);
            else
                sched_yield();
            continue;
        }
        CHECK(ring->batch.index + ring->batch.span <= capacity);
        uint64_t counted = number;
        for (int64_t i = 0; i < got; i++, number++) {
            uint32_t length = length_of(passage, number, position);
            CHECK_EQ(scratch_length(ring, (uint64_t)i), length);
            verify(scratch_payload(ring, (uint64_t)i), number, length);
            position = scratch_end_of(ring, (uint64_t)i);
            if (number % 7 == 0) { /* release what was read; the batch is still in use */
                CHECK_EQ(kr_consumer_release(ring->consumer, position, number + 1 - counted, 0), 0);
                counted = number + 1;
            }
        }
        CHECK_EQ(kr_consumer_release(ring->consumer, position, number - counted, 1), 0);
    }
    CHECK_EQ(scratch_drain(ring, 1, UINT64_MAX), 0);
}

/* The reads of an operator's tool while the two sides run. */
static void *read_stats(void *argument)
{
    struct passage *passage = argument;
    kr_stats stats;
    do {
        kr_map_stats(passage->ring.map, &stats);
        CHECK(stats.tail - stats.head <= stats.capacity);
        CHECK(stats.bytes_in <= passage->records * passage->largest);
    } while (stats.events_out < passage->records);
    return NULL;
}

static void pass(void *(*writer)(void *), uint64_t capacity, uint64_t largest, uint64_t records, int sleeps)
{
    struct passage passage = {.records = check_rounds(records), .largest = largest, .sleeps = sleeps};
    pthread_t thread, watcher;
    scratch_open_sender(&passage.ring, capacity);
    CHECK(!pthread_create(&thread, NULL, writer, &passage));
    if (sleeps)
        CHECK(!pthread_create(&watcher, NULL, read_stats, &passage));
    read_all(&passage);
    CHECK(!pthread_join(thread, NULL));
    if (sleeps)
        CHECK(!pthread_join(watcher, NULL));
    scratch_close(&passage.ring);
}

static void records_written_one_by_one_arrive_whole(void)
{
    pass(write_each, 4096, 128, 20000, 0);
    pass(write_each, 4096, 4096, 2000, 0);
    pass(write_each, 1 << 20, 1024, 10000, 0);
}

static void records_written_in_runs_arrive_whole(void)
{
    pass(write_runs, 4096, 128, 20000, 0);
    pass(write_runs, 4096, 2048, 4000, 0);
    pass(write_runs, 1 << 20, 1024, 10000, 0);
}

static void records_written_in_place_arrive_whole(void)
{
    pass(write_in_place, 4096, 128, 20000, 0);
    pass(write_in_place, 1 << 20, 1024, 10000, 0);
}

static void records_arrive_whole_when_both_sides_sleep(void)
{
    pass(write_each, 4096, 1024, 5000, 1);
    pass(write_runs, 4096, 256, 10000, 1);
    pass(write_in_place, 1 << 16, 256, 10000, 1);
}

/* The inbox: two senders, the pump, the receiver. Events are chunks: sender, number, bytes that follow from it. */
struct crowd {
    struct scratch_ring ring;
    uint64_t events;
};

struct sender {
    struct crowd *crowd;
    uint32_t which;
};

static void *send_all(void *argument)
{
    struct sender *sender = argument;
    struct crowd *crowd = sender->crowd;
    kr_sender *to = crowd->ring.sender;
    char *payload = malloc(1 << 16);
    for (uint64_t number = 0; number < crowd->events; number++) {
        uint64_t seed = number * 2 + sender->which;
        uint32_t length = (uint32_t)(mixed(seed) % (number % 64 == 63 ? 20000 : 200));
        fill(payload, seed, length);
        if (number % 3 == 0) {
            CHECK(send_frame(to, seed, payload, &length, 1) >= 0);
        } else if (number % 3 == 1) {
            CHECK(send_plain(to, 2, seed, payload, length) >= 0);
        } else {
            uint64_t accepted;
            const uint8_t kinds[] = {2};
            const uint32_t argcs[] = {1};
            CHECK(send_many(to, 1, kinds, &seed, argcs, payload, &length, 1, &accepted) >= 0);
            CHECK_EQ(accepted, 1);
        }
    }
    free(payload);
    return NULL;
}

static void take_event(uint64_t *next, uint64_t seed, uint8_t kind, const char *payload, uint64_t length)
{
    uint64_t number = seed / 2, header = kind == 4 ? 8 : 0;
    CHECK_EQ(number, next[seed & 1]++);
    CHECK_EQ(kind, number % 3 == 0 ? 4 : 2);
    CHECK_EQ(length - header, mixed(seed) % (number % 64 == 63 ? 20000 : 200));
    verify(payload + header, seed, (uint32_t)(length - header));
}

static void two_senders_and_a_pump_keep_each_senders_order(void)
{
    static struct crowd crowd;
    struct sender senders[2] = {{&crowd, 0}, {&crowd, 1}};
    pthread_t threads[2];
    uint64_t next[2] = {0, 0}, have = 0;
    char *whole = malloc(1 << 16);
    crowd.events = check_rounds(3000);
    scratch_open_inbox(&crowd.ring, 8192);
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_create(&threads[i], NULL, send_all, &senders[i]));
    while (next[0] + next[1] < 2 * crowd.events) {
        struct scratch_ring *ring = &crowd.ring;
        int64_t got = scratch_drain(ring, 100, UINT64_MAX);
        CHECK(got >= 0);
        if (!got) {
            CHECK(kr_consumer_wait(ring->consumer, -1, 10000) != KR_WAIT_GONE);
        } else if (ring->batch.fragment) {
            if (ring->batch.flags & KR_FLAG_FIRST)
                have = 0;
            memcpy(whole + have, scratch_payload(ring, 0), scratch_length(ring, 0));
            have += scratch_length(ring, 0);
            if (ring->batch.flags & KR_FLAG_LAST)
                take_event(next, scratch_offset(ring, 0), scratch_kind(ring, 0), whole, have);
        } else {
            for (uint64_t i = 0; i < (uint64_t)got; i++)
                take_event(next, scratch_offset(ring, i), scratch_kind(ring, i), scratch_payload(ring, i), scratch_length(ring, i));
        }
        if (got)
            CHECK_EQ(scratch_release_all(ring), 0);
    }
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_join(threads[i], NULL));
    CHECK(scratch_overflow(&crowd.ring).peak_bytes > 0);
    CHECK_EQ(scratch_overflow(&crowd.ring).events, 0);
    free(whole);
    scratch_close(&crowd.ring);
}

/* Every thread calls every function until another thread closes the handles. */
static void *use_producer(void *argument)
{
    struct scratch_ring *ring = argument;
    uint64_t state = (uint64_t)(uintptr_t)&state;
    kr_overflow_info overflow;
    kr_role_info info;
    int64_t code = 0;
    const uint32_t length = 8;
    while (code != KR_E_CLOSED) {
        switch (check_below(&state, 10)) {
        case 0: code = kr_producer_write(ring->producer, "12345678", 8); break;
        case 1: code = send_frame(ring->sender, 1, "12345678", &length, 1); break;
        case 2: code = kr_producer_wait(ring->producer, 100, 100000); break;
        case 3: code = kr_producer_wait_fd(ring->producer, 100); break;
        case 4: code = kr_producer_set_word(ring->producer, 9, state); break;
        case 5: code = kr_pump(ring->sender, 100000); break;
        case 6: kr_overflow_read(ring->sender, &overflow); break;
        case 7: code = kr_producer_peer(ring->producer, &info); break;
        case 8: code = kr_producer_publish(ring->producer); break;
        default: code = kr_overflow_marks(ring->sender, 1000, 100); break;
        }
    }
    return NULL;
}

static void *use_consumer(void *argument)
{
    struct scratch_ring *ring = argument;
    uint64_t state = (uint64_t)(uintptr_t)&state, position;
    char columns[25 * 8 + 8] __attribute__((aligned(16)));
    kr_batch batch;
    kr_role_info info;
    int64_t code = 0;
    while (code != KR_E_CLOSED) {
        switch (check_below(&state, 7)) {
        case 0:
        case 1:
            if ((code = kr_consumer_drain(ring->consumer, 8, UINT64_MAX, columns, &batch)) > 0)
                code = kr_consumer_release(ring->consumer, batch.position + batch.span, batch.count, 1);
            break;
        case 2: code = kr_consumer_wait(ring->consumer, 100000, 5000); break;
        case 3: code = check_below(&state, 50) ? 0 : kr_consumer_wait_fd(ring->consumer); break;
        case 4: code = kr_consumer_set_word(ring->consumer, 9, state); break;
        case 5: kr_consumer_peer(ring->consumer, &info); break;
        default: CHECK_EQ(kr_consumer_fault(ring->consumer, &position), 0); break;
        }
    }
    return NULL;
}

static void every_function_may_be_called_from_any_thread(void)
{
    for (uint64_t round = check_rounds(10); round; round--) {
        struct scratch_ring ring;
        pthread_t producers[2], consumers[2];
        scratch_open_sender(&ring, 4096);
        for (int i = 0; i < 2; i++) {
            CHECK(!pthread_create(&producers[i], NULL, use_producer, &ring));
            CHECK(!pthread_create(&consumers[i], NULL, use_consumer, &ring));
        }
        check_sleep_ms(10);
        kr_sender_close(ring.sender);
        uint64_t tail = load_relaxed(&ring.map->header->tail), request = load_relaxed(&ring.map->header->space_request);
        uint64_t word = load_relaxed(&ring.map->header->producer_words[9]);
        check_sleep_ms(2);
        kr_consumer_close(ring.consumer);
        uint64_t head = load_relaxed(&ring.map->header->head), wanted = load_relaxed(&ring.map->header->data_request);
        uint64_t other = load_relaxed(&ring.map->header->consumer_words[9]);
        for (int i = 0; i < 2; i++) {
            CHECK(!pthread_join(producers[i], NULL));
            CHECK(!pthread_join(consumers[i], NULL));
        }
        /* A thread that waited for the lock while the role was given up must not write the next holder's words. */
        CHECK_EQ(load_relaxed(&ring.map->header->tail), tail);
        CHECK_EQ(load_relaxed(&ring.map->header->space_request), request);
        CHECK_EQ(load_relaxed(&ring.map->header->producer_words[9]), word);
        CHECK_EQ(load_relaxed(&ring.map->header->head), head);
        CHECK_EQ(load_relaxed(&ring.map->header->data_request), wanted);
        CHECK_EQ(load_relaxed(&ring.map->header->consumer_words[9]), other);
        scratch_close(&ring);
        scratch_remove_all();
    }
}

static const struct check_case cases[] = {
    CASE(records_written_one_by_one_arrive_whole),
    CASE(records_written_in_runs_arrive_whole),
    CASE(records_written_in_place_arrive_whole),
    CASE(records_arrive_whole_when_both_sides_sleep),
    CASE(two_senders_and_a_pump_keep_each_senders_order),
    CASE(every_function_may_be_called_from_any_thread),
};
CHECK_MAIN(cases)
