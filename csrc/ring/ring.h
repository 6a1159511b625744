/* Shared by the files of the core: the handles of one process. Nothing here is in shared memory. */
#ifndef KR_RING_H
#define KR_RING_H

#include <pthread.h>

#include "kevy_ring.h"
#include "ring/layout.h"

/* A place where csrc/tests/test_crash_points.c makes the process die, in a build of its own. Nothing otherwise. */
#ifdef KR_CRASH_POINTS
void kr_crash_point(unsigned number);
#define KR_POINT(number) kr_crash_point(number)
#else
#define KR_POINT(number) ((void)0)
#endif

#define KR_POLL_SLICE_NS 1000000000LL /* a sleeping side looks at the peer's claim at least this often */
#define KR_BLIND_SLICE_NS 20000000LL  /* the same, if no pidfd reports the end of its holder */
#define KR_BLIND_TICK_NS 100000000LL  /* the same for an event loop, where each look costs much more */
#define KR_NAME_BYTES 256

struct kr_map {
    struct kr_header *header;
    uint64_t capacity;
    uint64_t page;
    int data_bell;  /* both ends of each FIFO in one descriptor: opening one never waits for the other side */
    int space_bell;
    int segment;
    kr_word32 holders; /* the opener and every role: the last one closes */
    char name[KR_NAME_BYTES]; /* for messages */
};

/* A role held by this process. A sleeping thread owns the claim's word, so the kernel marks the word when the process dies.
 * It does not matter which process reaps it, or what its children inherited. */
struct kr_role {
    struct kr_claim *claim;
    pthread_t thread;
    kr_word32 command; /* futex: 0 hold, 1 let go */
    uint32_t final_word;
    int failure;
};

/* The peer as seen from here. The pidfd is opened again when the claim's epoch changes. */
struct kr_peer {
    struct kr_claim *claim;
    uint64_t epoch;
    int pidfd;
    int wait_fd; /* for event loops: an epoll set of a doorbell, the pidfd and the timer; -1 until it is asked for */
    int timer_fd;
    uint64_t tick_ns; /* when the timer is due */
    kr_word32 has_ended; /* a sleep ended because of the pidfd */
    int blind;        /* no pidfd reports the end of the holder: look at the word in shorter slices */
};

/* What a sleep watches besides its doorbell. */
struct kr_watch {
    int pidfd;
    int64_t slice_ns;
    kr_word32 *has_ended; /* of the peer; set outside the lock */
};

/* The note that goes with the next tail; note.c. The layer above writes the words under the producer's lock. */
struct kr_note {
    uint64_t words[KR_NOTE_WORDS];
    unsigned turn; /* the slot that is written next */
};

struct kr_producer {
    pthread_mutex_t lock;
    struct kr_map *map;
    struct kr_header *header;
    char *data;
    uint64_t capacity, mask;
    uint64_t tail;       /* published; only this side writes the shared word */
    uint64_t staged;     /* end of the committed records; the bytes in [tail, staged) are invisible */
    uint64_t head_cache; /* may be stale: there is at least as much room as it says */
    uint64_t data_reply;
    uint64_t space_request;
    uint64_t events_in, bytes_in, publishes, full_hits, data_wakes;
    uint64_t staged_events;
    uint64_t stamps, stamp_due; /* how many were made; the number of the event that gets the next one */
    uint64_t reserved; /* payload bytes of the open reservation, plus one; 0: none */
    int data_bell, space_bell;
    uint32_t generation;
    int closed, gone;
    int has_role;   /* the role was taken; `closed` says whether it was given up again */
    int takes_none; /* the handle was closed before it took a role */
    kr_word32 waiters; /* threads that wait for the lock: the pump, which takes it again and again, lets them have it */
    kr_word32 sleepers; /* threads that wait for the bell, or are about to */
    struct kr_role role;
    struct kr_peer peer;
    struct kr_note note;
};

struct kr_consumer {
    pthread_mutex_t lock;
    struct kr_map *map;
    struct kr_header *header;
    char *data;
    uint64_t capacity, mask;
    uint64_t head;       /* released */
    uint64_t drained;    /* end of the open batch */
    uint64_t data_request, space_reply;
    uint64_t events_out, bytes_out, drains, space_wakes;
    uint64_t stamps, stamps_made; /* counted or skipped; made, as of the last drain */
    uint64_t fault_position;
    int fault_field; /* 0: none */
    int data_bell, space_bell;
    int rung_by_self; /* the FIFO holds a byte that this side wrote */
    uint32_t generation;
    int closed, has_role, takes_none;
    kr_word passed_epoch; /* of a producer whose end is passed over; 0: none */
    kr_word idle_at; /* read without the lock: there is nothing to do while tail is this */
    kr_word32 sleepers; /* threads that wait for the bell, or are about to */
    kr_word spin_halvings, spins; /* outside the lock: how often the spin window was halved; spins begun, for tests */
    struct kr_role role;
    struct kr_peer peer;
};

/* The columns of a batch in one block of memory, `records` entries each; kevy_ring.h has the order. */
struct kr_columns {
    uint64_t *offsets, *starts;
    uint32_t *lengths, *argcs;
    uint8_t *kinds;
};

static inline struct kr_columns kr_split_columns(char *columns, uint64_t records)
{
    struct kr_columns out;
    out.offsets = (uint64_t *)(void *)columns;
    out.starts = out.offsets + records;
    out.lengths = (uint32_t *)(void *)(out.starts + records);
    out.argcs = out.lengths + records;
    out.kinds = (uint8_t *)(out.argcs + records);
    return out;
}

/* Fills in why something failed. Returns `code`. */
static inline int kr_refuse(kr_failure *why, int code, int err)
{
    why->code = code;
    why->err = err;
    return code;
}

/* segment.c */
void kr_map_hold(struct kr_map *map);
void kr_area_hold(char *area);

/* thread.c */
int kr_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);
void kr_futex_wait(kr_word32 *word, uint32_t value, int64_t timeout_ns);
void kr_futex_wake(kr_word32 *word);

/* role.c. Each handle remembers the generation of the process that made it. In a forked child the generation is another
 * one. Every handle calls kr_generation_watched() when it is made: from then on the number changes at a fork. */
extern uint32_t kr_generation;
uint32_t kr_generation_watched(void);
uint64_t kr_process_start(uint32_t pid);
int kr_own_start(uint64_t *start);
int kr_role_take(struct kr_role *role, struct kr_claim *claim, kr_failure *why);
void kr_role_release(struct kr_role *role, uint32_t final_word);
void kr_role_read(const struct kr_claim *claim, kr_role_info *out);

/* peer.c, under the lock of the handle */
void kr_peer_init(struct kr_peer *peer, struct kr_claim *claim);
void kr_peer_look(struct kr_peer *peer);
struct kr_watch kr_peer_watch(struct kr_peer *peer);
void kr_peer_tick(struct kr_peer *peer); /* sets the timer of an event loop again if it has run out */
int kr_peer_descriptor(struct kr_peer *peer, int bell);
void kr_peer_forget(struct kr_peer *peer);
void kr_peer_pass(struct kr_peer *peer, uint64_t epoch);

/* The peer's state in one load: 0, KR_E_PEER_CLOSED or KR_E_PEER_DEAD. Pairs with the release store of the word by the
 * holder, or by the kernel in its place: everything that the holder published before is visible. */
static inline int kr_peer_gone(const struct kr_peer *peer)
{
    uint32_t word = load_acquire32(&peer->claim->word);
    if (word == KR_ROLE_CLOSED)
        return KR_E_PEER_CLOSED;
    return (word & KR_ROLE_DEAD) ? KR_E_PEER_DEAD : 0;
}

/* doorbell.c */
int kr_bell_open(const char *name, const char *suffix, int create, kr_failure *why);
void kr_bell_ring(int bell);
void kr_bell_clear(int bell);
int kr_bell_wait(int bell, struct kr_watch watch, int64_t timeout_ns);
uint64_t kr_now_ns(void);
uint64_t kr_now_coarse_ns(void);

/* producer.c. kr_producer_enter() locks a usable handle, or says why it is not usable. Call the others under the lock. */
int kr_producer_enter(struct kr_producer *producer);
int kr_producer_leave(struct kr_producer *producer, int answer);
int kr_producer_usable(struct kr_producer *producer);
void kr_producer_publish_locked(struct kr_producer *producer);
uint64_t kr_producer_room(struct kr_producer *producer, uint64_t wanted);
void kr_producer_lock(struct kr_producer *producer);
void kr_producer_unlock(struct kr_producer *producer);
void kr_producer_count_full(struct kr_producer *producer);
int64_t kr_producer_reserve_locked(struct kr_producer *producer, uint64_t length, int is_free);

/* Whether this handle came through a fork. Ask before taking the lock: a thread that the child does not have may hold
 * it there. */
static inline int kr_producer_is_foreign(const struct kr_producer *producer) { return producer->generation != kr_generation; }

/* producer_role.c. A producer may be part of a larger handle, which then makes and ends it. Call the two with `_locked`
 * under the lock, and the last one too. */
void kr_producer_init(struct kr_producer *producer, struct kr_map *map, char *area);
int kr_producer_take_locked(struct kr_producer *producer, kr_failure *why);
void kr_producer_close_locked(struct kr_producer *producer);
void kr_producer_dispose(struct kr_producer *producer);
void kr_producer_ring_data_bell(struct kr_producer *producer, uint64_t request);

/* producer_wait.c. Count the caller among the sleepers and arm under the lock; sleep after the lock. */
int kr_producer_arm(struct kr_producer *producer, uint64_t wanted);
int kr_producer_sleep(struct kr_producer *producer, struct kr_watch watch, int64_t timeout_ns);

#define KR_NOT_IDLE UINT64_MAX /* in kr_consumer.idle_at. No record has this position: they are multiples of 8 */

/* As kr_producer_is_foreign(). */
static inline int kr_consumer_is_foreign(const struct kr_consumer *consumer) { return consumer->generation != kr_generation; }

/* As kr_peer_gone(), but 0 while the end of this producer is passed over. If the epoch is another one, a successor has, or
 * had, the role: then its own state counts, which is in the word by now, because the taker writes the word first. */
static inline int kr_consumer_gone(const struct kr_consumer *consumer)
{
    int gone = kr_peer_gone(&consumer->peer);
    uint64_t passed = gone ? load_relaxed(&consumer->passed_epoch) : 0;
    if (!passed)
        return gone;
    /* Pairs with the release store of epoch in kr_role_take(). */
    return load_acquire(&consumer->peer.claim->epoch) == passed ? 0 : kr_peer_gone(&consumer->peer);
}

/* consumer.c */
int kr_consumer_enter(struct kr_consumer *consumer);
int kr_consumer_leave(struct kr_consumer *consumer, int answer);

/* consumer_wait.c, under the lock */
void kr_consumer_arm(struct kr_consumer *consumer);
void kr_consumer_tend(struct kr_consumer *consumer, uint64_t end, uint64_t tail);

static inline char *kr_producer_at(struct kr_producer *producer, uint64_t position)
{
    return producer->data + (position & producer->mask);
}

/* Takes over a head that an honest consumer can have written: it never moves back, nor beyond tail. Any other head could
 * promise more room than the ring has. */
static inline int kr_producer_believes(struct kr_producer *producer, uint64_t head)
{
    if (producer->tail - head > producer->tail - producer->head_cache) {
        producer->gone = KR_E_CORRUPT;
        return 0;
    }
    producer->head_cache = head;
    return 1;
}

/* Two stores: registers collect the fields. */
static inline void kr_record_header(char *at, uint64_t length, uint32_t kind, uint32_t flags, uint64_t offset)
{
    uint64_t *words = (uint64_t *)(void *)at;
    words[0] = (uint64_t)(uint32_t)length | (uint64_t)kind << 32 | (uint64_t)flags << 40;
    words[1] = offset;
}

/* Clears the last word of a record, before the payload is written: so the padding behind the payload is zero. */
static inline void kr_record_pad(char *at, uint64_t length)
{
    uint64_t span = kr_record_span(length);
    if (span > KR_RECORD_BYTES)
        *(uint64_t *)(void *)(at + span - 8) = 0;
}

/* note.c. The first under the producer's lock; any process may call the second. */
void kr_note_find(struct kr_note *note, const struct kr_header *header, uint64_t tail);
void kr_note_look(const struct kr_header *header, struct kr_note *out);

/* stamps.c */
void kr_stamps_find(struct kr_producer *producer);
void kr_stamp_make(struct kr_producer *producer, uint64_t tail);
void kr_stamps_count(struct kr_consumer *consumer, uint64_t head, uint64_t end);

/* plain_run.c */
uint64_t kr_take_plain(const char *records, uint64_t bytes, uint64_t limit, uint64_t most, struct kr_columns to, uint64_t *span, uint32_t *frames);

#endif
