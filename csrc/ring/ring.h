/* What the files of the core share: the handles of one process. Nothing here lies in shared memory. */
#ifndef KR_RING_H
#define KR_RING_H

#include <pthread.h>

#include "ring/crash_points.h"
#include "kevy_ring.h"
#include "ring/layout.h"

#define KR_ROLE_PRODUCER 0
#define KR_ROLE_CONSUMER 1
#define KR_POLL_SLICE_NS 1000000000LL /* a parked side looks at the peer's claim at least this often */
#define KR_BLIND_SLICE_NS 20000000LL  /* the same where no pidfd tells of its holder's end */
#define KR_BLIND_TICK_NS 100000000LL  /* the same of an event loop, for which a look costs much more than here */
#define KR_NAME_BYTES 256

struct kr_map {
    struct kr_header *header;
    uint64_t capacity;
    uint64_t page;
    int data_bell;  /* both ends of each FIFO in one descriptor: opening one never waits for the other side */
    int space_bell;
    int segment;
    kr_word32 holders; /* the opener and every role: the last one closes */
    char name[KR_NAME_BYTES]; /* for what is said about the ring */
};

/* A role held by this process: a sleeping thread owns the claim's word, so that the kernel marks the word
 * when the process dies, whoever reaps it and whatever its children inherited. */
struct kr_role {
    struct kr_claim *claim;
    pthread_t thread;
    kr_word32 command; /* futex: 0 hold, 1 let go */
    uint32_t final_word;
    int failure;
};

/* The peer as seen from here: a pidfd that is opened anew whenever the claim's epoch changes. */
struct kr_peer {
    struct kr_claim *claim;
    uint64_t epoch;
    int pidfd;
    int wait_fd; /* for event loops: an epoll set of a doorbell, the pidfd and the timer; -1 until it is asked for */
    int timer_fd;
    uint64_t tick_ns; /* when the timer is, or has been, due */
    kr_word32 has_ended; /* a sleep ended because of the pidfd */
    int blind;        /* no pidfd tells of the holder's end: look at the word in shorter slices */
};

/* What one sleep watches beside its doorbell. */
struct kr_watch {
    int pidfd;
    int64_t slice_ns;
    kr_word32 *has_ended; /* of the peer: told outside the lock */
};

struct kr_block; /* overflow.c */

struct kr_overflow {
    struct kr_block *first, *last, *spare;
    uint64_t events, bytes, peak_bytes;
    uint64_t fragment_done; /* payload bytes of the first event that are already in the ring as fragments */
    uint64_t high, low;     /* marks in bytes; high 0: none */
    uint64_t watches;       /* how often marks were set */
    uint64_t crossed, told; /* how often a mark was crossed, in turn from the high one on, and told; odd: above */
};

/* The thread that moves the overflow into the ring; pump.c. All under the producer's lock, but for the two words. */
struct kr_pump {
    int starts_itself; /* 0: who made the producer calls kr_pump() */
    int running;       /* a thread has begun and not found that it has nothing left to do. Only the core knows this */
    int was_refused;   /* no thread could be started, which was told */
    int flushed_fd;    /* an eventfd, readable while nothing waits that can move; -1 until it is asked for */
    kr_word32 news;    /* futex: the overflow is empty, cannot move, or has crossed a mark */
    kr_word32 listeners;
};

#define KR_RESUME_KNOWN 1u          /* the offset is that of an event */
#define KR_RESUME_AFTER_SNAPSHOT 2u /* of a SnapshotEnd */
#define KR_RESUME_IN_SNAPSHOT 4u    /* a snapshot has begun and not ended: nothing can be gone on from */
#define KR_RESUME_SNAPSHOT 256u     /* from this bit on: how many SnapshotEnds were published */
#define KR_RESUME_SNAPSHOTS (~(uint64_t)(KR_RESUME_SNAPSHOT - 1))
#define KR_RESUME_ID_WORDS 8

/* What the staged records stand for in the upstream's stream; resume.c. */
struct kr_resume {
    uint64_t offset, flags, db;
    uint64_t id[KR_RESUME_ID_WORDS];
    uint64_t next_id[KR_RESUME_ID_WORDS];
    unsigned turn; /* the slot that is written next */
    int id_waits;  /* next_id holds from the moment on at which nothing waits behind the ring */
};

struct kr_producer {
    pthread_mutex_t lock;
    struct kr_map *map;
    struct kr_header *header;
    char *data;
    uint64_t capacity, mask;
    uint64_t tail;       /* published; only this side writes the shared word */
    uint64_t staged;     /* end of the committed records; the bytes in [tail, staged) are invisible */
    uint64_t head_cache; /* may be stale: then there is more room than it says, never less */
    uint64_t data_reply;
    uint64_t space_request;
    uint64_t events_in, bytes_in, publishes, full_hits, data_wakes;
    uint64_t staged_events;
    uint64_t stamps, stamp_due; /* made; the number of the event that gets the next one */
    uint64_t reserved; /* payload bytes of the open reservation, plus one; 0: none */
    int data_bell, space_bell;
    uint32_t generation;
    int closed, gone;
    int has_role;            /* it was taken; `closed` tells whether it was given up again */
    int takes_none;          /* it was closed before it took a role */
    int closes_when_drained; /* its user dropped it with events in the overflow */
    int is_orphan;           /* the same, and no pump could be started for it */
    int counts_snapshots, in_snapshot;
    uint64_t snapshots_begun, snapshots_ended;
    kr_word32 owners; /* its user and its pump: the last one frees it */
    struct kr_producer *next, *previous; /* of all inboxes of this process; inboxes.c */
    kr_word32 waiters; /* senders that want the lock: the pump steps aside for them */
    kr_word32 sleepers; /* threads that wait for the bell, or are on their way there */
    struct kr_role role;
    struct kr_peer peer;
    struct kr_overflow overflow;
    struct kr_pump pump;
    struct kr_resume resume;
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
    uint64_t stamps, stamps_made; /* counted, or given up; made, as of the last drain */
    uint64_t fault_position;
    int fault_field; /* 0: none */
    int data_bell, space_bell;
    int rung_by_self; /* the FIFO holds a byte of this side's own */
    uint32_t generation;
    int closed, has_role, takes_none;
    kr_word idle_at; /* read without the lock: nothing is to be done while tail stands here */
    kr_word32 sleepers; /* threads that wait for the bell, or are on their way there */
    kr_word spin_halvings, spins; /* outside the lock: of the spin window since it was whole; spins begun, for tests */
    struct kr_role role;
    struct kr_peer peer;
};

/* The columns of a batch in one block of memory, `records` entries each; kevy_ring.h tells the order. */
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

/* segment.c */
int kr_name_is_plain(const char *name);
void kr_map_hold(struct kr_map *map);
void kr_area_hold(char *area);

/* thread.c */
int kr_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);
void kr_futex_wait(kr_word32 *word, uint32_t value, int64_t timeout_ns);
void kr_futex_wake(kr_word32 *word);

/* role.c */
uint32_t kr_generation(void);
int kr_own_start(uint64_t *start);
int kr_role_take(struct kr_role *role, struct kr_claim *claim, kr_failure *why);
void kr_role_release(struct kr_role *role, uint32_t final_word);
void kr_role_read(const struct kr_claim *claim, kr_role_info *out);

/* peer.c, under the lock of the handle */
void kr_peer_init(struct kr_peer *peer, struct kr_claim *claim);
void kr_peer_look(struct kr_peer *peer);
struct kr_watch kr_peer_watch(struct kr_peer *peer);
void kr_peer_tick(struct kr_peer *peer); /* where an event loop looks: a timer that has run out is set again */
int kr_peer_descriptor(struct kr_peer *peer, int bell);
void kr_peer_forget(struct kr_peer *peer);

/* The peer's state in one load: 0, KR_E_PEER_CLOSED or KR_E_PEER_DEAD. Pairs with the release that the
 * holder, or the kernel in its place, does on the word: what it published before is visible. */
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

/* producer.c: kr_producer_enter() locks a usable handle or says why not; the others are called under the lock */
/* For a writer that runs over the end of a payload: the padding is cleared when all is written. */
static inline void kr_clear_padding(char *at, uint64_t length)
{
    uint64_t span = kr_record_span(length), padding = span - KR_RECORD_BYTES - length;
    if (span > KR_RECORD_BYTES)
        *(uint64_t *)(void *)(at + span - 8) &= UINT64_MAX >> (8 * padding);
}

int kr_producer_enter(struct kr_producer *producer);
int kr_producer_leave(struct kr_producer *producer, int answer);
int kr_producer_usable(struct kr_producer *producer);
void kr_producer_publish_locked(struct kr_producer *producer);
uint64_t kr_producer_room(struct kr_producer *producer, uint64_t wanted);
void kr_producer_lock(struct kr_producer *producer);
void kr_producer_unlock(struct kr_producer *producer);

/* producer_wait.c, under the lock */
int kr_producer_arm(struct kr_producer *producer, uint64_t wanted);

/* producer_wait.c, after the lock, by who was counted among the sleepers under it */
int kr_producer_sleep(struct kr_producer *producer, struct kr_watch watch, int64_t timeout_ns);

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

/* Takes a head that a consumer can have written: it never goes back, nor beyond tail. Otherwise the room that it
 * promises could be more than the ring has. */
static inline int kr_producer_believes(struct kr_producer *producer, uint64_t head)
{
    if (producer->tail - head > producer->tail - producer->head_cache) {
        producer->gone = KR_E_CORRUPT;
        return 0;
    }
    producer->head_cache = head;
    return 1;
}

/* Two stores: the fields are put together in registers. */
static inline void kr_record_header(char *at, uint64_t length, uint32_t kind, uint32_t flags, uint64_t offset)
{
    uint64_t *words = (uint64_t *)(void *)at;
    words[0] = (uint64_t)(uint32_t)length | (uint64_t)kind << 32 | (uint64_t)flags << 40;
    words[1] = offset;
}

/* The last word of a record is written before its payload: the padding behind the payload is then zero. */
static inline void kr_record_pad(char *at, uint64_t length)
{
    uint64_t span = kr_record_span(length);
    if (span > KR_RECORD_BYTES)
        *(uint64_t *)(void *)(at + span - 8) = 0;
}

/* producer_end.c. The first under the lock. */
uint64_t kr_producer_close_locked(struct kr_producer *producer);
void kr_producer_disown(struct kr_producer *producer);

/* sender.c, under the producer's lock: a place for the next record, its counting, and the end (which unlocks). */
char *kr_place(struct kr_producer *producer, uint64_t span, int *in_ring);
void kr_placed(struct kr_producer *producer, uint64_t length, int in_ring);
int kr_finish(struct kr_producer *producer);
void kr_count_marker(struct kr_producer *producer, uint32_t kind);
void kr_snapshots_begin(struct kr_producer *producer);

/* resume.c, under the producer's lock */
void kr_resume_note_rare(struct kr_resume *resume, const char *at);
void kr_resume_write(struct kr_resume *resume, struct kr_header *header, uint64_t tail, int drained);
void kr_resume_find(struct kr_resume *resume, const struct kr_header *header, uint64_t tail);

/* A frame that is known to select no database. */
static inline void kr_resume_frame(struct kr_resume *resume, uint64_t offset)
{
    resume->offset = offset;
    resume->flags = (resume->flags & KR_RESUME_SNAPSHOTS) | KR_RESUME_KNOWN;
}

/* The payload of SELECT and a number of one to ten digits has so many bytes: a frame of any other length is none. */
#define KR_SELECT_BYTES_MIN 19u
#define KR_SELECT_BYTES_MAX 28u

/* An event's record is staged: its header, and its payload, lie at `at`. */
static inline void kr_resume_note(struct kr_resume *resume, const char *at)
{
    const struct kr_record *record = (const struct kr_record *)(const void *)at;
    if (record->kind == 4 && record->length - KR_SELECT_BYTES_MIN > KR_SELECT_BYTES_MAX - KR_SELECT_BYTES_MIN)
        kr_resume_frame(resume, record->offset);
    else
        kr_resume_note_rare(resume, at);
}

/* stamps.c */
void kr_stamps_find(struct kr_producer *producer);
void kr_stamp_make(struct kr_producer *producer, uint64_t tail);
void kr_stamps_count(struct kr_consumer *consumer, uint64_t head, uint64_t end);

/* plain_run.c */
uint64_t kr_take_plain(const char *records, uint64_t bytes, uint64_t limit, uint64_t most, struct kr_columns to, uint64_t *span, uint32_t *frames);

/* overflow.c, under the producer's lock */
char *kr_overflow_append(struct kr_producer *producer, uint64_t span);
void kr_overflow_appended(struct kr_producer *producer, uint64_t span, uint64_t events);
void kr_overflow_free(struct kr_overflow *overflow);
void kr_overflow_publish_gauges(struct kr_producer *producer);

/* overflow.c, outside the lock: kr_pump() of the pump's own thread, which has ended with any other answer than _AGAIN */
int kr_pump_of_thread(struct kr_producer *producer);

/* pump.c, under the producer's lock */
int kr_pump_start(struct kr_producer *producer);
int kr_overflow_waits(struct kr_producer *producer);
void kr_overflow_fell(struct kr_producer *producer);
void kr_overflow_ended(struct kr_producer *producer);

/* inboxes.c */
void kr_inboxes_add(struct kr_producer *producer);
void kr_inboxes_remove(struct kr_producer *producer);
void kr_inboxes_adopt(void);

#endif
