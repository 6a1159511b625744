/* One side is killed at each numbered point of the core, and a successor continues: every event arrives once and in
 * order (I12), the resume point is that of the tail (I11), and no side sleeps while there is work for it (I13).
 *
 * The stream is a snapshot and then frames, some larger than the ring, sent by every function for it. The victim is
 * another process. KEVY_RING_CRASH="NUMBER:PASSING" is the place of its death. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "scratch_inbox.h"
#include "send_joined.h"

#define EVENTS 200u  /* frames, with the offsets 1 to EVENTS */
#define RESUMED 77u /* offset of the SnapshotEnd; frames go on behind it */
#define LAST (RESUMED + EVENTS)
#define CHUNKS 2u

enum { PRODUCER = 1, CONSUMER = 2, BOTH = 3 };

/* The number in KR_POINT() is the index in this list. */
static const struct {
    const char *name;
    int roles;
} points[] = {
    {"none", 0},
    /* producer.c, send.c, chunk.c, scan.c, note.c */
    {"a record has its place and is not written", PRODUCER},
    {"a chunk is received in place and not committed", PRODUCER},
    {"a run's frame is committed and the run goes on", PRODUCER},
    {"records are committed and not published", PRODUCER},
    {"a resume slot is written and not stamped", PRODUCER},
    {"the resume point is written and the tail is not", PRODUCER},
    {"the tail is written and nobody woken", PRODUCER},
    {"the doorbell is about to ring", PRODUCER},
    {"the byte is written and the reply is not", PRODUCER},
    {"the reply is written", PRODUCER},
    {"the producer's role is taken and the consumer not told", PRODUCER},
    {"the last records are published and the role is held", PRODUCER},
    {"the producer's role is given up and nobody told", PRODUCER},
    /* overflow.c, producer_wait.c */
    {"a fragment is copied and not committed", PRODUCER},
    {"a fragment is published", PRODUCER},
    {"records of the overflow are copied and not committed", PRODUCER},
    {"records are taken from the overflow and not published", PRODUCER},
    {"the pump has emptied its FIFO and not asked", PRODUCER},
    {"space is wanted and not asked for", PRODUCER},
    {"space is asked for and not looked at", PRODUCER},
    {"the producer is about to sleep", PRODUCER},
    /* consumer.c, consumer_wait.c */
    {"records are drained and not released", CONSUMER},
    {"records are counted and the head is not written", CONSUMER},
    {"the head is written and nobody woken", CONSUMER},
    {"the byte for space is written and the reply is not", CONSUMER},
    {"the reply for space is written", CONSUMER},
    {"the consumer's role is taken and its words are not", CONSUMER},
    {"the FIFO is emptied and the request is not made", CONSUMER},
    {"the request is made and tail not looked at", CONSUMER},
    {"the consumer is about to sleep", CONSUMER},
    /* role.c */
    {"the claim is taken and not in the list", BOTH},
    {"the claim is in the list and the holder unnamed", BOTH},
    {"the holder is named and the epoch old", BOTH},
    {"the claim is out of the list and not given up", BOTH},
    {"the claim is given up", BOTH},
};
#define POINTS (sizeof points / sizeof points[0])

static unsigned point, passing; /* in a victim */
static kr_word32 passed;

void kr_crash_point(unsigned number)
{
    if (number != point || number == 0)
        return;
    count_up32(&passed);
    if (load_relaxed32(&passed) == passing)
        kill(getpid(), SIGKILL);
}

static void be_a_victim(void)
{
    const char *where = getenv("KEVY_RING_CRASH");
    if (where)
        CHECK_EQ(sscanf(where, "%u:%u", &point, &passing), 2);
}

/* The content of a durable sink, in memory that survives the victim. */
struct sink {
    uint64_t next;   /* offset wanted next; 0: the snapshot */
    uint64_t chunks; /* of the snapshot that is being received */
    uint64_t ends[LAST + 1]; /* position behind the record of a frame; 0: not drained yet */
    uint64_t again;  /* frames that came again to a successor */
};

static uint32_t length_of(uint64_t offset, int with_large)
{
    if (offset % 15 == 0)
        return with_large ? 9000 : 4000;
    return (uint32_t)(offset * 37 % (offset % 4 ? 90 : 900));
}

static void fill(char *to, uint64_t offset, uint32_t length) { memset(to, (int)(offset * 7 % 251), length); }

/* The producer. */

static int sent(struct scratch_ring *ring, int code)
{
    if (code < 0)
        CHECK(code == KR_E_PEER_DEAD || code == KR_E_PEER_CLOSED);
    if (code == KR_SEND_RING || code < 0)
        return code >= 0;
    return code >= 0 && ring->sender->overflow.events < 12; /* a burst, which the next pump moves */
}

static int gone(struct scratch_ring *ring) { return kr_producer_publish(ring->producer) < 0; }

static int move_on(struct scratch_ring *ring)
{
    int code;
    while ((code = kr_pump(ring->sender, -1)) == KR_PUMP_AGAIN)
        ;
    return code == KR_PUMP_DONE;
}

static int send_snapshot(struct scratch_ring *ring)
{
    if (!sent(ring, send_plain(ring->sender, 1, 0, "", 0)) && gone(ring))
        return 0;
    for (unsigned i = 0; i < CHUNKS; i++) {
        int64_t index;
        while ((index = kr_chunk_reserve(ring->sender, 3000)) == KR_RESERVE_FULL)
            if (kr_producer_wait(ring->producer, 3000, -1) == KR_WAIT_GONE)
                return 0;
        if (index < 0)
            return 0;
        memset(ring->area + index, 'c', 2000 + i);
        if (!sent(ring, kr_chunk_commit(ring->sender, 2000 + i)) && (gone(ring) || !move_on(ring)))
            return 0;
    }
    return sent(ring, send_plain(ring->sender, 3, RESUMED, "", 0)) || move_on(ring);
}

/* Sends one frame or a run by one of the functions for it. Returns how many, or -1 when the consumer is gone. */
static int64_t send_some(struct scratch_ring *ring, kr_scanner *scanner, uint64_t offset, int with_large)
{
    enum { RUN = 16 };
    static char bytes[RUN * 9000], wire[RUN * 9100];
    uint32_t lengths[RUN], argcs[RUN], count = offset % 3 == 1 ? 1 : RUN;
    uint64_t total = 0, offsets[RUN], accepted = 0, written = 0;
    uint8_t kinds[RUN];
    int code;
    kr_scan scan;
    if (offset + count > LAST + 1)
        count = (uint32_t)(LAST + 1 - offset);
    for (uint32_t i = 0; i < count; i++) {
        kinds[i] = 4;
        argcs[i] = 1;
        lengths[i] = length_of(offset + i, with_large);
        offsets[i] = offset + i;
        fill(bytes + total, offset + i, lengths[i]);
        written += (uint64_t)sprintf(wire + written, "*2\r\n:%llu\r\n*1\r\n$%u\r\n", (unsigned long long)(offset + i), lengths[i]);
        memcpy(wire + written, bytes + total, lengths[i]);
        memcpy(wire + written + lengths[i], "\r\n", 2);
        written += lengths[i] + 2;
        total += lengths[i];
    }
    if (count == 1)
        code = send_frame(ring->sender, offset, bytes, lengths, 1);
    else if (offset % 3)
        code = kr_scan_kevy(ring->sender, scanner, wire, written, offset, &scan);
    else
        code = send_many(ring->sender, count, kinds, offsets, argcs, bytes, lengths, count, &accepted);
    if (!sent(ring, code) && (gone(ring) || !move_on(ring)))
        return -1;
    return count;
}

/* Continues at the resume point, to the end or until the consumer is gone. */
static void produce(struct scratch_ring *ring, int with_large)
{
    kr_resume_point from;
    kr_scanner *scanner = kr_scanner_new();
    uint64_t offset = RESUMED + 1;
    kr_map_resume(ring->map, &from);
    if (from.flags & KR_RESUME_FLAG_KNOWN)
        offset = from.offset + 1;
    else if (!send_snapshot(ring))
        offset = LAST + 1;
    while (offset <= LAST) {
        int64_t took = send_some(ring, scanner, offset, with_large);
        if (took < 0 || kr_producer_wait(ring->producer, 4000, -1) == KR_WAIT_GONE)
            break;
        offset += (uint64_t)took;
    }
    if (offset > LAST && !gone(ring))
        move_on(ring);
    kr_scanner_free(scanner);
    kr_sender_close(ring->sender);
}

/* The consumer. */

static void take_frame(struct sink *sink, uint64_t offset, const char *payload, uint64_t length, uint64_t end, int with_large)
{
    static char expected[9000];
    CHECK(offset > RESUMED && offset <= LAST && sink->next);
    if (offset < sink->next) { /* a predecessor drained and did not release it: skip what was applied */
        sink->again++;
        CHECK_EQ(sink->ends[offset], end);
        return;
    }
    CHECK_EQ(offset, sink->next);
    CHECK_EQ(length, 8 + length_of(offset, with_large));
    fill(expected, offset, length_of(offset, with_large));
    CHECK(!memcmp(payload + 8, expected, length - 8));
    sink->ends[offset] = end;
    sink->next = offset + 1;
}

static void take(struct sink *sink, uint32_t kind, uint64_t offset, const char *payload, uint64_t length, uint64_t end, int with_large)
{
    switch (kind) {
    case 1: sink->chunks = 0; break;
    case 2:
        CHECK(length - 2000 == sink->chunks || (length - 2000 < sink->chunks && !with_large)); /* less: it came again */
        sink->chunks = length - 2000 + 1;
        break;
    case 3:
        CHECK_EQ(offset, RESUMED);
        if (!sink->next) { /* else it came again */
            CHECK_EQ(sink->chunks, CHUNKS);
            sink->next = RESUMED + 1;
        }
        break;
    default: take_frame(sink, offset, payload, length, end, with_large);
    }
}

/* Drains until the producer is gone and all its published records are taken. */
static void consume(struct scratch_ring *ring, struct sink *sink, int with_large)
{
    static char whole[1 << 14];
    uint64_t have = 0;
    for (;;) {
        int found = kr_consumer_wait(ring->consumer, -1, 0);
        if (found == KR_WAIT_GONE)
            break;
        int64_t got = scratch_drain(ring, 3, UINT64_MAX);
        CHECK(got >= 0);
        if (ring->consumer->drains % 16 == 0)
            check_sleep_ms(1); /* long enough for the producer to fill the ring and go to sleep */
        for (int64_t i = 0; i < got; i++) {
            uint64_t at = (uint64_t)i;
            if (!ring->batch.fragment) {
                take(sink, scratch_kind(ring, at), scratch_offset(ring, at), scratch_payload(ring, at), scratch_length(ring, at),
                     scratch_end_of(ring, at), with_large);
                continue;
            }
            if (ring->batch.flags & KR_FLAG_FIRST)
                have = 0;
            memcpy(whole + have, scratch_payload(ring, 0), scratch_length(ring, 0));
            have += scratch_length(ring, 0);
            if (ring->batch.flags & KR_FLAG_LAST)
                take(sink, scratch_kind(ring, 0), scratch_offset(ring, 0), whole, have, scratch_end_of(ring, 0), with_large);
        }
        if (got > 1)
            CHECK_EQ(kr_consumer_release(ring->consumer, scratch_end_of(ring, 0), 1, 0), 0);
        if (got)
            CHECK_EQ(kr_consumer_release(ring->consumer, ring->batch.position + ring->batch.span, (uint64_t)got - (got > 1), 1), 0);
    }
}

/* I11: the resume point in the segment belongs to exactly the events that can be read from the ring. */
static void check_resume_point(struct scratch_ring *ring, const struct sink *sink)
{
    kr_resume_point point_now;
    kr_map_resume(ring->map, &point_now);
    if (!sink->next) {
        CHECK(!(point_now.flags & KR_RESUME_FLAG_KNOWN));
        return;
    }
    CHECK(point_now.flags & KR_RESUME_FLAG_KNOWN);
    CHECK(!(point_now.flags & KR_RESUME_FLAG_IN_SNAPSHOT));
    CHECK_EQ(point_now.offset, sink->next - 1);
}

/* The two processes. */

static char ring_name[32];
static struct sink *sink;

static void produce_in_a_child(void *argument)
{
    struct scratch_ring ring;
    be_a_victim();
    scratch_attach(&ring, ring_name);
    scratch_take_sender(&ring);
    child_say('r');
    produce(&ring, 1);
    (void)argument;
}

static void consume_in_a_child(void *argument)
{
    struct scratch_ring ring;
    be_a_victim();
    scratch_attach(&ring, ring_name);
    scratch_take_consumer(&ring);
    child_say('r');
    consume(&ring, sink, 0);
    kr_consumer_close(ring.consumer);
    (void)argument;
}

static void set_victim(unsigned number, unsigned which)
{
    char where[32];
    snprintf(where, sizeof where, "%u:%u", number, which);
    if (number)
        CHECK(!setenv("KEVY_RING_CRASH", where, 1));
    else
        unsetenv("KEVY_RING_CRASH");
}

static int was_killed(struct child *child)
{
    int status = child_reap(child);
    CHECK(status == 0 || status == SIGKILL);
    return status == SIGKILL;
}

static void begin(struct scratch_ring *ring)
{
    scratch_create(ring, 4096);
    strcpy(ring_name, ring->name);
    sink = mmap(NULL, sizeof *sink, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(sink != MAP_FAILED);
}

static void finish(struct scratch_ring *ring)
{
    CHECK_EQ(sink->next, LAST + 1);
    check_resume_point(ring, sink);
    CHECK_EQ(load_acquire(&ring->map->header->tail), load_acquire(&ring->map->header->head));
    scratch_close(ring);
    scratch_remove_all();
    munmap(sink, sizeof *sink);
}

/* Runs victims one after the other. All but the first die at their first passing. Returns how many died. */
static int kill_producers(unsigned number, unsigned which, int lives)
{
    struct scratch_ring ring;
    struct child child;
    int killed = 0;
    begin(&ring);
    scratch_take_consumer(&ring);
    for (int life = 0; sink->next <= LAST; life++) {
        CHECK(life <= lives);
        set_victim(life < lives ? number : 0, life ? 1 : which);
        child_start(&child, produce_in_a_child, NULL);
        if (child_listen(&child) == 'r')
            consume(&ring, sink, 1);
        if (was_killed(&child)) {
            killed++;
            consume(&ring, sink, 1); /* also if the victim died while it took the role */
            check_resume_point(&ring, sink);
        }
    }
    CHECK_EQ(sink->again, 0);
    finish(&ring);
    return killed;
}

static int kill_a_producer(unsigned number, unsigned which) { return kill_producers(number, which, 1); }

/* The number of frames that the victim had taken without giving back their space: exactly these come again. */
static uint64_t unreleased(struct scratch_ring *ring)
{
    uint64_t head = load_acquire(&ring->map->header->head), count = 0;
    for (uint64_t offset = RESUMED + 1; offset < sink->next; offset++)
        count += (int64_t)(sink->ends[offset] - head) > 0;
    return count;
}

static int kill_a_consumer(unsigned number, unsigned which)
{
    struct scratch_ring ring;
    struct child child;
    uint64_t again = 0;
    int killed = 0;
    begin(&ring);
    for (int life = 0; sink->next <= LAST || again; life++) {
        CHECK(life < 2);
        set_victim(life ? 0 : number, which);
        scratch_take_sender(&ring);
        child_start(&child, consume_in_a_child, NULL);
        CHECK(child_listen(&child) == 'r' || life == 0);
        produce(&ring, 0);
        kr_sender_free(ring.sender);
        ring.sender = NULL;
        ring.producer = NULL;
        if (was_killed(&child)) {
            killed = 1;
            again = unreleased(&ring);
            continue;
        }
        CHECK_EQ(sink->again, again);
        break;
    }
    finish(&ring);
    return killed;
}

static const unsigned passings[] = {1, 2, 5, 14};
#define PASSINGS (sizeof passings / sizeof passings[0])

static void each_point(int role, int (*kill_one)(unsigned, unsigned))
{
    for (unsigned number = 1; number < POINTS; number++) {
        if (!(points[number].roles & role))
            continue;
        for (unsigned i = 0; i < PASSINGS; i++) {
            int killed = kill_one(number, passings[i]);
            if (!killed && i == 0)
                fprintf(stderr, "point %u is never passed: %s\n", number, points[number].name);
            CHECK(killed || i > 0);
        }
    }
}

static void a_producer_killed_at_each_point_is_followed(void) { each_point(PRODUCER, kill_a_producer); }
static void a_consumer_killed_at_each_point_is_followed(void) { each_point(CONSUMER, kill_a_consumer); }

/* Each successor finds one complete slot, and must not change it until its own slot is complete. */
static void producers_killed_one_after_the_other_are_followed(void)
{
    for (unsigned number = 1; number < POINTS; number++)
        if (points[number].roles == PRODUCER)
            for (unsigned i = 0; i < PASSINGS; i++)
                CHECK(kill_producers(number, passings[i], 3) > 0 || i > 0);
}

static const struct check_case cases[] = {
    CASE(a_producer_killed_at_each_point_is_followed),
    CASE(producers_killed_one_after_the_other_are_followed),
    CASE(a_consumer_killed_at_each_point_is_followed),
};
CHECK_MAIN(cases)
