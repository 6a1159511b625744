/* The overflow: events that did not fit into the ring, in contiguous blocks of the sender's own memory. They are encoded
 * once, in the layout of the ring, so that moving them is a memcpy of whole records. */
#define _GNU_SOURCE
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "inbox/inbox.h"

#define BLOCK_BYTES ((uint64_t)1 << 20)
#define LARGE_RECORD (BLOCK_BYTES / 4) /* a larger record gets a block of its own: so less than a quarter of a block is unused */
#define STEP_BYTES ((uint64_t)64 << 10) /* moved per hold of the lock: a send waits for a few microseconds at most */

struct kr_block {
    struct kr_block *next;
    uint64_t size, used, taken; /* bytes after this header */
    uint64_t first_ns;          /* when its first record was appended */
    uint64_t pad;
};

static char *block_bytes(struct kr_block *block) { return (char *)(block + 1); }

/* For other processes: the sender's `overflow`, and the operator's tools. */
void kr_overflow_publish_gauges(struct kr_sender *sender)
{
    struct kr_overflow *overflow = &sender->overflow;
    kr_word *words = sender->producer.header->producer_words;
    store_relaxed(&words[WORD_EVENTS], overflow->events);
    store_relaxed(&words[WORD_BYTES], overflow->bytes);
    store_relaxed(&words[WORD_PEAK], overflow->peak_bytes);
    store_relaxed(&words[WORD_OLDEST], overflow->first ? overflow->first->first_ns : 0);
}

static __attribute__((noinline)) struct kr_block *new_block(struct kr_overflow *overflow, uint64_t span)
{
    uint64_t size = span > LARGE_RECORD ? span : BLOCK_BYTES - sizeof(struct kr_block);
    struct kr_block *block = overflow->spare;
    if (block && size == block->size) {
        overflow->spare = NULL;
    } else {
        /* Straight from the kernel, so that a drained overflow gives its memory back at once. */
        block = mmap(NULL, sizeof *block + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            return NULL;
        block->size = size;
    }
    block->next = NULL;
    block->used = block->taken = 0;
    block->first_ns = kr_now_coarse_ns();
    if (overflow->last)
        overflow->last->next = block;
    else
        overflow->first = block;
    overflow->last = block;
    return block;
}

static void unmap(struct kr_block *block) { munmap(block, sizeof *block + block->size); }

static void drop_first(struct kr_overflow *overflow)
{
    struct kr_block *block = overflow->first;
    overflow->first = block->next;
    if (!overflow->first)
        overflow->last = NULL;
    if (!overflow->spare && block->size == BLOCK_BYTES - sizeof(struct kr_block))
        overflow->spare = block;
    else
        unmap(block);
}

/* Room for one record of `span` bytes. The caller writes it before it unlocks. NULL: there is no memory. */
char *kr_overflow_append(struct kr_sender *sender, uint64_t span)
{
    struct kr_overflow *overflow = &sender->overflow;
    struct kr_block *block = overflow->last;
    if (!block || block->size - block->used < span)
        block = new_block(overflow, span);
    if (!block)
        return NULL;
    char *at = block_bytes(block) + block->used;
    uint64_t bytes = overflow->bytes + span;
    block->used += span;
    overflow->bytes = bytes;
    if (bytes > overflow->peak_bytes)
        overflow->peak_bytes = bytes;
    overflow->events++;
    if (sender->id_waits)
        sender->id_waits = 2;
    return at;
}

void kr_overflow_free(struct kr_overflow *overflow)
{
    while (overflow->first)
        drop_first(overflow);
    if (overflow->spare)
        unmap(overflow->spare);
    overflow->spare = NULL;
    overflow->events = overflow->bytes = overflow->fragment_done = 0;
}

static uint64_t length_at(const char *at) { return ((const struct kr_record *)(const void *)at)->length; }

/* An event larger than the ring goes in pieces of a quarter of the ring, so that both sides work at the same time. */
static uint64_t piece_bytes(const struct kr_sender *sender) { return sender->producer.capacity / 4 - KR_RECORD_BYTES; }

/* Bytes of room that the next move needs; 0 if the overflow is empty. */
static uint64_t next_span(struct kr_sender *sender)
{
    struct kr_producer *producer = &sender->producer;
    struct kr_block *block = sender->overflow.first;
    if (!sender->overflow.events)
        return 0;
    uint64_t length = length_at(block_bytes(block) + block->taken);
    if (kr_record_span(length) <= producer->capacity)
        return kr_record_span(length);
    uint64_t left = length - sender->overflow.fragment_done;
    return kr_record_span(left < piece_bytes(sender) ? left : piece_bytes(sender));
}

static void taken(struct kr_sender *sender, uint64_t span, uint64_t events)
{
    struct kr_overflow *overflow = &sender->overflow;
    overflow->first->taken += span;
    overflow->events -= events;
    overflow->bytes -= span;
    if (overflow->first->taken == overflow->first->used)
        drop_first(overflow);
    if (!overflow->events && sender->id_waits == 2)
        kr_resume_drained(sender);
}

static void publish(struct kr_sender *sender)
{
    kr_producer_publish_locked(&sender->producer);
    if (!sender->overflow.events)
        kr_resume_drained(sender);
}

static void move_fragment(struct kr_sender *sender)
{
    struct kr_producer *producer = &sender->producer;
    struct kr_overflow *overflow = &sender->overflow;
    const char *from = block_bytes(overflow->first) + overflow->first->taken;
    const struct kr_record *whole = (const struct kr_record *)(const void *)from;
    uint64_t done = overflow->fragment_done, left = whole->length - done;
    uint64_t length = left < piece_bytes(sender) ? left : piece_bytes(sender);
    uint32_t flags = KR_FLAG_FRAGMENT | (done ? 0 : KR_FLAG_FIRST) | (length == left ? KR_FLAG_LAST : 0);
    char *at = kr_producer_at(producer, producer->staged);
    kr_record_pad(at, length);
    kr_record_header(at, length, whole->kind, flags, whole->offset);
    memcpy(at + KR_RECORD_BYTES, from + KR_RECORD_BYTES + done, length);
    KR_POINT(14);
    producer->staged += kr_record_span(length);
    overflow->fragment_done = done + length;
    if (length == left) {
        producer->staged_events++;
        kr_resume_note(&producer->note, from, 1);
        overflow->fragment_done = 0;
        taken(sender, kr_record_span(whole->length), 1);
    }
}

/* Moves as many whole records of the first block as fit the room and one step. Returns bytes moved. */
static uint64_t move_step(struct kr_sender *sender)
{
    struct kr_producer *producer = &sender->producer;
    struct kr_overflow *overflow = &sender->overflow;
    uint64_t wanted = next_span(sender);
    if (!wanted)
        return 0;
    uint64_t room = kr_producer_room(producer, wanted > STEP_BYTES ? wanted : STEP_BYTES);
    if (room < wanted || producer->gone)
        return 0;
    struct kr_block *block = overflow->first;
    const char *from = block_bytes(block) + block->taken;
    if (kr_record_span(length_at(from)) > producer->capacity) {
        move_fragment(sender);
        publish(sender);
        KR_POINT(15);
        return wanted;
    }
    uint64_t limit = room < STEP_BYTES ? room : STEP_BYTES, span = 0, events = 0;
    uint64_t available = block->used - block->taken;
    while (span < available) {
        uint64_t next = kr_record_span(length_at(from + span));
        if (events && span + next > limit)
            break;
        kr_resume_note(&producer->note, from + span, 1);
        span += next;
        events++;
        if (span >= limit)
            break;
    }
    memcpy(kr_producer_at(producer, producer->staged), from, span);
    KR_POINT(16);
    producer->staged += span;
    producer->staged_events += events;
    taken(sender, span, events);
    KR_POINT(17);
    publish(sender);
    return span;
}

/* Lets the threads that wait for the lock have it before the next step. */
static void step_aside(struct kr_sender *sender)
{
    struct kr_producer *producer = &sender->producer;
    for (int i = 0; i < 100 && load_relaxed32(&producer->waiters); i++)
        sched_yield();
}

/* Under the lock: the overflow is empty, or cannot be moved. */
static int end_pump(struct kr_sender *sender, int answer, int is_thread)
{
    struct kr_producer *producer = &sender->producer;
    if (is_thread)
        sender->pump.running = 0;
    else if (sender->pump.running)
        kr_bell_ring(producer->space_bell); /* the thread sleeps, and has nothing left to do */
    kr_overflow_ended(sender);
    if (sender->closes_when_drained)
        kr_sender_close_locked(sender);
    kr_producer_unlock(producer);
    return answer;
}

static int pump(struct kr_sender *sender, int64_t timeout_ns, int is_thread)
{
    struct kr_producer *producer = &sender->producer;
    for (;;) {
        int moved = 0;
        kr_producer_lock(producer);
        int refused = kr_producer_usable(producer);
        if (refused)
            return end_pump(sender, refused, is_thread);
        if (!producer->reserved) /* a reservation holds the place behind `staged` */
            moved = move_step(sender) != 0;
        if (producer->gone)
            return end_pump(sender, producer->gone, is_thread);
        kr_overflow_publish_gauges(sender);
        kr_overflow_fell(sender);
        if (!sender->overflow.events)
            return end_pump(sender, KR_PUMP_DONE, is_thread);
        if (!moved) {
            kr_bell_clear(producer->space_bell); /* before the look in kr_producer_arm() */
            KR_POINT(18);
            uint64_t span = next_span(sender), quarter = producer->capacity / 4;
            moved = !producer->reserved && kr_producer_arm(producer, span > quarter ? span : quarter);
        }
        struct kr_watch watch = kr_peer_watch(&producer->peer);
        if (!moved)
            count_up32(&producer->sleepers);
        kr_producer_unlock(producer);
        if (moved)
            step_aside(sender);
        else if (kr_producer_sleep(producer, watch, timeout_ns) <= 0)
            return KR_PUMP_AGAIN;
    }
}

int kr_pump(struct kr_sender *sender, int64_t timeout_ns)
{
    return kr_producer_is_foreign(&sender->producer) ? KR_E_FORKED : pump(sender, timeout_ns, 0);
}

int kr_pump_of_thread(struct kr_sender *sender) { return pump(sender, -1, 1); }

void kr_overflow_read(kr_sender *sender, kr_overflow_info *out)
{
    memset(out, 0, sizeof *out);
    if (kr_producer_is_foreign(&sender->producer))
        return;
    kr_producer_lock(&sender->producer);
    struct kr_overflow *overflow = &sender->overflow;
    out->events = overflow->events;
    out->bytes = overflow->bytes;
    out->peak_bytes = overflow->peak_bytes;
    out->oldest_ns = overflow->events ? overflow->first->first_ns : 0;
    out->now_ns = kr_now_coarse_ns();
    kr_producer_unlock(&sender->producer);
}
