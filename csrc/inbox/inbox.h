/* Shared by the files of the inbox: the sender, which owns a producer of the ring and everything that waits behind it.
 * Nothing here is in shared memory. */
#ifndef KR_INBOX_H
#define KR_INBOX_H

#include "ring/ring.h"

/* The words of the producer that this layer writes. The words 0 to 3 are the gauges of the overflow. */
enum { WORD_EVENTS = 0, WORD_BYTES = 1, WORD_PEAK = 2, WORD_OLDEST = 3, WORD_SNAPSHOTS_ENDED = 5 };

struct kr_block; /* overflow.c */

struct kr_overflow {
    struct kr_block *first, *last, *spare;
    uint64_t events, bytes, peak_bytes;
    uint64_t fragment_done; /* payload bytes of the first event that are already in the ring as fragments */
    uint64_t high, low;     /* marks in bytes; high 0: none */
    uint64_t watches;       /* how often marks were set */
    uint64_t crossed, told; /* crossings of a mark that happened, and that were reported. The first is of the high mark; odd: above */
};

/* The thread that moves the overflow into the ring; pump.c. All under the producer's lock, except the two words. */
struct kr_pump {
    int by_hand;     /* tests: no thread is started, and the caller moves the overflow with kr_pump() */
    int running;     /* a thread was started and has not ended its work yet */
    int was_refused; /* no thread could be started, and a send has reported it */
    int flushed_fd;  /* an eventfd, readable while the overflow is empty or cannot move; -1 until it is asked for */
    kr_word32 news;  /* futex: the overflow is empty, cannot move, or has crossed a mark */
    kr_word32 listeners;
};

/* The note of the ring is the resume point: the place of the last staged record in the upstream's stream. Its words: */
enum { NOTE_OFFSET = 0, NOTE_FLAGS = 1, NOTE_DB = 2, NOTE_ID = 3 };
/* NOTE_FLAGS: the KR_RESUME_FLAG_ bits of kevy_ring.h, and above them: */
#define KR_RESUME_SNAPSHOT 256u /* from this bit on: how many SnapshotEnds were published */
#define KR_RESUME_SNAPSHOTS (~(uint64_t)(KR_RESUME_SNAPSHOT - 1))
#define KR_RESUME_ID_WORDS 8

struct kr_sender {
    struct kr_producer producer; /* its lock is that of the whole sender */
    struct kr_overflow overflow;
    struct kr_pump pump;
    uint64_t next_id[KR_RESUME_ID_WORDS]; /* the upstream's id as soon as the overflow is empty */
    int id_waits;                         /* there is such an id. 2: an event of its history waits too */
    int in_snapshot;
    uint64_t snapshots_ended; /* how many SnapshotEnds were sent; some may still be in the overflow */
    int closes_when_drained; /* its user dropped it while events were in the overflow */
    int is_orphan;           /* the same, and no pump could be started for it */
    kr_word32 owners;        /* its user and its pump: the last one frees it */
    struct kr_sender *next, *previous; /* of all inboxes of this process; inboxes.c */
};

/* sender.c. The first under the lock. */
void kr_sender_close_locked(struct kr_sender *sender);
void kr_sender_disown(struct kr_sender *sender);

/* send.c, under the lock: a place for the next record, and the end of a send, which unlocks. */
char *kr_place(struct kr_sender *sender, uint64_t span, int *in_ring);
int kr_finish(struct kr_sender *sender);

/* resume.c, under the lock */
void kr_resume_note_rare(struct kr_note *note, const char *at);
void kr_resume_drained(struct kr_sender *sender);

/* Bytes of the payload of SELECT with a number of one to ten digits. A frame of any other length selects no database. */
#define KR_SELECT_BYTES_MIN 19u
#define KR_SELECT_BYTES_MAX 28u

/* Notes the event that is staged for the ring. Its record is at `at`. `may_be_rare`: 0 if it is known to be a frame that
 * selects no database. */
static inline void kr_resume_note(struct kr_note *note, const char *at, int may_be_rare)
{
    const struct kr_record *record = (const struct kr_record *)(const void *)at;
    if (may_be_rare && (record->kind != KR_KIND_FRAME ||
                        record->length - KR_SELECT_BYTES_MIN <= KR_SELECT_BYTES_MAX - KR_SELECT_BYTES_MIN)) {
        kr_resume_note_rare(note, at);
        return;
    }
    note->words[NOTE_OFFSET] = record->offset;
    note->words[NOTE_FLAGS] = (note->words[NOTE_FLAGS] & KR_RESUME_SNAPSHOTS) | KR_RESUME_FLAG_KNOWN;
}

/* overflow.c, under the lock */
char *kr_overflow_append(struct kr_sender *sender, uint64_t span);
void kr_overflow_free(struct kr_overflow *overflow);
void kr_overflow_publish_gauges(struct kr_sender *sender);

#define KR_PUMP_DONE 0  /* the overflow is empty */
#define KR_PUMP_AGAIN 1 /* call again */

/* overflow.c, outside the lock: kr_pump() moves events until the overflow is empty (KR_PUMP_DONE), or one sleep of at most
 * `timeout_ns` brought no news (KR_PUMP_AGAIN). Only the pump's own thread calls kr_pump_of_thread(), until the answer is not
 * KR_PUMP_AGAIN. */
int kr_pump(struct kr_sender *sender, int64_t timeout_ns);
int kr_pump_of_thread(struct kr_sender *sender);

/* pump.c, under the lock */
int kr_pump_start(struct kr_sender *sender);
int kr_overflow_waits(struct kr_sender *sender);
void kr_overflow_fell(struct kr_sender *sender);
void kr_overflow_ended(struct kr_sender *sender);

/* inboxes.c */
void kr_inboxes_add(struct kr_sender *sender);
void kr_inboxes_remove(struct kr_sender *sender);
void kr_inboxes_adopt(void);

#endif
