/* Eight threads in the functions of one handle, for the thread sanitizer: a binding without an interpreter's lock needs
 * this. Every call does its work or is refused with a code. No record is torn, lost or out of order. */
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "scratch_inbox.h"

enum { WRITERS = 4, READERS = 4, WORDS = 3 };

struct shared {
    struct scratch_ring ring;
    uint64_t records;             /* that each writer writes */
    kr_word32 is_over;            /* the handles are closed */
    kr_word seen[WRITERS];        /* the number of the last record of each writer, counted by the reader that has the batch */
};

struct worker {
    struct shared *shared;
    uint64_t number;
    pthread_t thread;
};

/* A record: its writer, its number, and the sum of both. */
static void compose(uint64_t words[WORDS], uint64_t writer, uint64_t number)
{
    words[0] = writer;
    words[1] = number;
    words[2] = writer + number;
}

static void check_record(struct shared *shared, const char *payload)
{
    uint64_t words[WORDS];
    memcpy(words, payload, sizeof words);
    CHECK(words[0] < WRITERS);
    CHECK_EQ(words[2], words[0] + words[1]);
    CHECK_EQ(words[1], load_relaxed(&shared->seen[words[0]]) + 1);
    store_relaxed(&shared->seen[words[0]], words[1]);
}

static int is_gone(int64_t code) { return code == KR_E_CLOSED || code == KR_E_PEER_CLOSED; }

/* ------------------------------------------------------------------------------------------------------- readers */

/* The calls that any thread may make on a consumer while another one has the batch. */
static void look_at_consumer(struct shared *shared, uint64_t turn)
{
    kr_consumer *consumer = shared->ring.consumer;
    kr_role_info info;
    uint64_t position;
    int code = kr_consumer_peer(consumer, &info);
    CHECK(code == 0 || is_gone(code));
    code = kr_consumer_set_word(consumer, 8, turn);
    CHECK(code == 0 || is_gone(code));
    code = kr_consumer_wait_fd(consumer);
    CHECK(code >= 0 || is_gone(code));
    code = kr_consumer_wait(consumer, 1000, 0);
    CHECK(code >= 0 || is_gone(code));
    CHECK_EQ(kr_consumer_fault(consumer, &position), 0);
}

/* A drain, which is refused while another thread has the batch. 0: the handle is closed, or all was read. */
static int read_some(struct shared *shared, char *columns, uint64_t room)
{
    kr_consumer *consumer = shared->ring.consumer;
    kr_batch batch;
    int64_t count = kr_consumer_drain(consumer, room, UINT64_MAX, columns, &batch);
    if (count <= 0) {
        CHECK(count == 0 || count == KR_E_BUSY || count == KR_E_CLOSED);
        return count != KR_E_CLOSED;
    }
    struct kr_columns split = kr_split_columns(columns, room);
    for (int64_t i = 0; i < count; i++) {
        int is_frame = split.kinds[i] == KR_KIND_FRAME; /* with one argument, after the count and the end position */
        CHECK_EQ(split.lengths[i], sizeof(uint64_t[WORDS]) + (is_frame ? 8 : 0));
        check_record(shared, shared->ring.area + batch.index + split.starts[i] + (is_frame ? 8 : 0));
    }
    int code = kr_consumer_release(consumer, batch.position + batch.span, (uint64_t)count, 1);
    CHECK(code == 0 || code == KR_E_CLOSED);
    return code == 0;
}

static void *read_all(void *argument)
{
    enum { ROOM = 32 };
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    char columns[25 * ROOM + 8] __attribute__((aligned(16)));
    for (uint64_t turn = 0; read_some(shared, columns, ROOM) && !load_acquire32(&shared->is_over); turn++)
        if (turn % 8 == worker->number)
            look_at_consumer(shared, turn);
    return NULL;
}

/* ------------------------------------------------------------------------------------------- writers of a ring */

static int write_copy(kr_producer *producer, const uint64_t words[WORDS])
{
    kr_piece piece = {(const char *)words, sizeof(uint64_t[WORDS])};
    int64_t done = kr_producer_write_pieces(producer, &piece, 1);
    CHECK(done >= 0 || done == KR_E_BUSY || is_gone(done));
    return done == 1;
}

/* In place: refused while another thread has a reservation. */
static int write_in_place(struct shared *shared, const uint64_t words[WORDS], int aborts)
{
    kr_producer *producer = shared->ring.producer;
    int64_t index = kr_producer_reserve(producer, sizeof(uint64_t[WORDS]));
    if (index < 0) {
        CHECK(index == KR_RESERVE_FULL || index == KR_E_BUSY || is_gone(index));
        return 0;
    }
    memcpy(shared->ring.area + index, words, sizeof(uint64_t[WORDS]));
    int code = aborts ? kr_producer_abort(producer) : kr_producer_commit(producer, sizeof(uint64_t[WORDS]));
    CHECK(code == 0 || is_gone(code));
    if (aborts || code)
        return 0;
    code = kr_producer_publish(producer); /* another thread may have published it already */
    CHECK(code == 0 || is_gone(code));
    return 1;
}

static void look_at_producer(kr_producer *producer, uint64_t turn)
{
    kr_role_info info;
    int code = kr_producer_peer(producer, &info);
    CHECK(code == 0 || is_gone(code));
    code = kr_producer_set_word(producer, 8, turn);
    CHECK(code == 0 || is_gone(code));
    code = kr_producer_wait_fd(producer, 8);
    CHECK(code >= 0 || is_gone(code));
    code = kr_producer_wait(producer, 8, 1000);
    CHECK(code >= 0 || is_gone(code));
}

static void *write_all(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    uint64_t words[WORDS], turn = 0;
    for (uint64_t number = 1; number <= shared->records && !load_acquire32(&shared->is_over); turn++) {
        compose(words, worker->number, number);
        number += (uint64_t)(turn % 2 ? write_copy(shared->ring.producer, words) : write_in_place(shared, words, turn % 6 == 0));
        if (turn % 8 == worker->number)
            look_at_producer(shared->ring.producer, turn);
    }
    return NULL;
}

/* ----------------------------------------------------------------------------------------- writers of an inbox */

static void send_frame(kr_sender *sender, const uint64_t words[WORDS])
{
    kr_piece piece = {(const char *)words, sizeof(uint64_t[WORDS])};
    uint32_t argc = 1;
    uint64_t accepted;
    int code = kr_send_pieces(sender, 1, NULL, &words[1], &argc, &piece, &accepted);
    CHECK(code >= 0);
    CHECK_EQ(accepted, 1);
}

/* Sends a chunk in place, or a frame while another thread has the reservation or the ring is full. */
static void send_chunk(struct shared *shared, const uint64_t words[WORDS])
{
    kr_sender *sender = shared->ring.sender;
    int64_t index = kr_chunk_reserve(sender, sizeof(uint64_t[WORDS]));
    if (index < 0) {
        CHECK(index == KR_RESERVE_FULL || index == KR_E_BUSY);
        send_frame(sender, words);
        return;
    }
    memcpy(shared->ring.area + index, words, sizeof(uint64_t[WORDS]));
    if (words[1] % 3) {
        CHECK(kr_chunk_commit(sender, sizeof(uint64_t[WORDS])) >= 0);
        return;
    }
    CHECK_EQ(kr_chunk_abort(sender), 0);
    send_frame(sender, words);
}

static void look_at_sender(kr_sender *sender, uint64_t turn)
{
    kr_overflow_info overflow;
    kr_snapshots_sent sent;
    kr_overflow_read(sender, &overflow);
    CHECK_EQ(kr_sender_snapshots(sender, &sent), 0);
    CHECK(kr_flush(sender, 1000) >= 0);
    CHECK(kr_flushed_fd(sender) >= 0);
    CHECK(kr_overflow_marks(sender, turn % 2 ? 4096 : 0, 64) >= 0);
    CHECK_EQ(kr_sender_set_upstream(sender, "some-upstream", 13, turn % 16), 0);
}

static void *send_all(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    uint64_t words[WORDS];
    for (uint64_t number = 1; number <= shared->records; number++) {
        compose(words, worker->number, number);
        if (number % 2)
            send_chunk(shared, words);
        else
            send_frame(shared->ring.sender, words);
        if (number % 8 == worker->number)
            look_at_sender(shared->ring.sender, number);
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------- the cases */

static int all_seen(struct shared *shared)
{
    for (uint64_t i = 0; i < WRITERS; i++)
        if (load_relaxed(&shared->seen[i]) < shared->records)
            return 0;
    return 1;
}

static void start(struct worker *workers, int count, struct shared *shared, void *(*run)(void *))
{
    for (int i = 0; i < count; i++) {
        workers[i] = (struct worker){.shared = shared, .number = (uint64_t)i};
        CHECK_EQ(pthread_create(&workers[i].thread, NULL, run, workers + i), 0);
    }
}

static void join(struct worker *workers, int count)
{
    for (int i = 0; i < count; i++)
        CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
}

/* This thread closes the handle while the readers are in its functions. From then on their calls are refused. */
static void run_all(struct shared *shared, void *(*writer)(void *))
{
    struct worker writers[WRITERS], readers[READERS];
    start(readers, READERS, shared, read_all);
    start(writers, WRITERS, shared, writer);
    join(writers, WRITERS);
    while (!all_seen(shared))
        check_sleep_ms(1);
    kr_consumer_close(shared->ring.consumer);
    store_release32(&shared->is_over, 1);
    join(readers, READERS);
}

static void eight_threads_in_the_handles_of_a_ring(void)
{
    static struct shared shared;
    memset(&shared, 0, sizeof shared);
    scratch_open(&shared.ring, 4096);
    shared.records = check_rounds(2000);
    run_all(&shared, write_all);
    scratch_close(&shared.ring);
}

static void eight_threads_in_the_handles_of_an_inbox(void)
{
    static struct shared shared;
    memset(&shared, 0, sizeof shared);
    scratch_open_inbox(&shared.ring, 4096);
    shared.records = check_rounds(2000);
    run_all(&shared, send_all);
    scratch_close(&shared.ring);
}

/* A call that runs while its handle is closed ends with a code, and the handle stays valid until it is freed. */
static void close_in_the_middle(int producer_first)
{
    static struct shared shared;
    struct worker writers[WRITERS], readers[READERS];
    uint64_t words[WORDS] = {0};
    memset(&shared, 0, sizeof shared);
    scratch_open(&shared.ring, 4096);
    shared.records = UINT64_MAX;
    start(writers, WRITERS, &shared, write_all);
    start(readers, READERS, &shared, read_all);
    check_sleep_ms(3);
    if (producer_first)
        kr_producer_close(shared.ring.producer);
    kr_consumer_close(shared.ring.consumer);
    if (!producer_first)
        kr_producer_close(shared.ring.producer);
    check_sleep_ms(1);
    store_release32(&shared.is_over, 1);
    join(writers, WRITERS);
    join(readers, READERS);
    CHECK_EQ(write_copy(shared.ring.producer, words), 0);
    CHECK_EQ(write_in_place(&shared, words, 0), 0);
    scratch_close(&shared.ring);
}

static void a_close_in_the_middle_refuses_every_later_call(void)
{
    for (uint64_t round = check_rounds(20); round; round--)
        close_in_the_middle(round % 2);
}

static const struct check_case cases[] = {
    CASE(eight_threads_in_the_handles_of_a_ring),
    CASE(eight_threads_in_the_handles_of_an_inbox),
    CASE(a_close_in_the_middle_refuses_every_later_call),
};
CHECK_MAIN(cases)
