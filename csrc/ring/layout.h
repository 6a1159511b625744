/* The segment, byte by byte. Only this file knows an offset.
 *
 *   file      | header page | data area (capacity bytes)              |
 *   mapping   | header page |        | private page | data | data again |
 *
 * The data area is mapped twice, back to back, so every record and the whole of [head, tail) is contiguous
 * in memory: the wrap needs no padding record and wastes no space. Positions are free-running u64. The
 * index of a position is `position & (capacity - 1)`, taken at the last moment.
 *
 *   record    | u32 length | u8 kind | u8 flags | u16 0 | u64 offset | payload ... | zero padding to 8 |
 *   frame     payload := u32 argc | argc * u32 end positions | argument bytes
 *
 * Words of different writers are 128 bytes apart (two lines: the adjacent-line prefetcher pairs them). */
#ifndef KR_RING_LAYOUT_H
#define KR_RING_LAYOUT_H

#include <assert.h>
#include <stddef.h>

#include "kevy_ring.h"
#include "ring/atomics.h"

#define KR_MAGIC 0x474e49525956454bULL /* "KEVYRING" in little-endian */
#define KR_LINE 128
#define KR_WORDS 16

/* A claim's word. The kernel itself writes KR_ROLE_DEAD when the holder dies (robust futex ABI: it clears the thread id and
 * sets FUTEX_OWNER_DIED). So the values are the kernel's, except KR_ROLE_CLOSED: no system gives out that thread id. */
#define KR_ROLE_VACANT 0u
#define KR_ROLE_DEAD 0x40000000u
#define KR_ROLE_CLOSED 0x3fffffffu

struct kr_claim {
    kr_word32 word;  /* vacant, closed, dead, or the thread id of the holder; written by the holder, and by the kernel at its death */
    kr_word32 pid;   /* of the holder's process, for people and for pidfd_open */
    kr_word start;   /* its start time in clock ticks since boot: another process with the same pid has another one */
    kr_word epoch;   /* how often the role was taken; when it changes, the peer looks again */
};

/* The note: words of the layer above that are published together with the tail. The ring does not read them, except
 * KR_NOTE_MARK: while that word is 0, there is no note. There are two slots. The stamp of each is the tail that it belongs
 * to, so that a death between any two stores leaves one slot that matches the tail. */
#define KR_NOTE_WORDS 11
#define KR_NOTE_MARK 1

struct kr_note_slot {
    kr_word stamp;
    kr_word words[KR_NOTE_WORDS];
};

/* One record in KR_STAMP_EVERY has a stamp, while fewer than KR_STAMPS of those are in the ring. */
#define KR_STAMP_EVERY 1024u
#define KR_STAMPS 64u

struct kr_stamp {
    kr_word position; /* where the record ends */
    kr_word published_ns;
};

/* The label: text of the ring's creator, as bytes in words. The ring does not read it. */
#define KR_LABEL_WORDS (KR_LABEL_BYTES / 8)

struct kr_header {
    /* Written by the creator, the magic last. An adopter writes the creator's words again. These 48 bytes keep their
     * places in all versions of the layout, so that any version can name and remove the segments of any other.
     * All but the magic are written before the segment has its name: with a magic of 0 its creation was interrupted. */
    kr_word magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t capacity;
    uint64_t created_unix_ns;
    uint32_t creator_pid;
    uint32_t flags; /* KR_SEGMENT_KEPT */
    uint64_t creator_start;
    char pad0[KR_LINE - 48];

    /* Written by the producer, polled by the consumer. */
    kr_word tail;
    kr_word data_reply; /* the last data_request that was honoured */
    kr_word stamps;     /* how many were made; the next one goes to slot `stamps % KR_STAMPS` */
    char pad1[KR_LINE - 24];

    /* Written by the consumer, polled by the producer. */
    kr_word head;
    kr_word space_reply; /* the last space_request that was honoured */
    char pad2[KR_LINE - 16];

    /* Written by the consumer before it sleeps. Apart from head, so that reading it at every publish costs no cache miss. */
    kr_word data_request;
    char pad3[KR_LINE - 8];

    /* Written by the producer before it sleeps. */
    kr_word space_request;
    kr_word space_wanted; /* the head position at which it wants to be woken */
    char pad4[KR_LINE - 16];

    struct kr_claim producer;
    char pad5[KR_LINE - sizeof(struct kr_claim)];
    struct kr_claim consumer;
    char pad6[KR_LINE - sizeof(struct kr_claim)];

    /* Counters of the producer. */
    kr_word events_in, bytes_in, publishes, full_hits, data_wakes;
    char pad7[KR_LINE - 40];
    /* Counters of the consumer. */
    kr_word events_out, bytes_out, drains, space_wakes, last_drain_ns;
    char pad8[KR_LINE - 40];

    kr_word producer_words[KR_WORDS]; /* free for the layers above */
    kr_word consumer_words[KR_WORDS];
    struct kr_note_slot note[2];
    char pad9[KR_LINE / 2];

    struct kr_stamp stamp[KR_STAMPS]; /* written by the producer */
    /* Written by the consumer: how long the stamped records were in the ring. */
    kr_word time_counts[KR_TIME_BOUNDS + 1], time_total_ns;
    char pad10[2 * KR_LINE - 8 * (KR_TIME_BOUNDS + 2)];

    kr_word label[KR_LABEL_WORDS]; /* written by the creator before the magic, or by an adopter */
};

struct kr_record {
    uint32_t length; /* payload bytes, without header and padding */
    uint8_t kind;
    uint8_t flags;
    uint16_t zero;
    uint64_t offset;
};

static inline uint64_t kr_record_span(uint64_t length) { return ((uint64_t)KR_RECORD_BYTES + length + 7u) & ~(uint64_t)7; }

static_assert(sizeof(struct kr_record) == KR_RECORD_BYTES, "record header");
static_assert(KR_LENGTH_MAX == 0xffffffe0u, "the longest payload");
static_assert(offsetof(struct kr_record, kind) == 4, "kind");
static_assert(offsetof(struct kr_record, flags) == 5, "flags");
static_assert(offsetof(struct kr_record, offset) == 8, "offset");
/* Fixed in all versions; FIXED_HEADER in src/kevy_ring/ring/stats.py reads them. */
static_assert(offsetof(struct kr_header, magic) == 0, "magic");
static_assert(offsetof(struct kr_header, version) == 8, "version");
static_assert(offsetof(struct kr_header, header_bytes) == 12, "header_bytes");
static_assert(offsetof(struct kr_header, capacity) == 16, "capacity");
static_assert(offsetof(struct kr_header, created_unix_ns) == 24, "created_unix_ns");
static_assert(offsetof(struct kr_header, creator_pid) == 32, "creator_pid");
static_assert(offsetof(struct kr_header, flags) == 36, "flags");
static_assert(offsetof(struct kr_header, creator_start) == 40, "creator_start");
static_assert(KR_SEGMENT_KEPT == 1, "the flag kept");
/* Of this version. */
static_assert(offsetof(struct kr_header, tail) == 1 * KR_LINE, "tail");
static_assert(offsetof(struct kr_header, head) == 2 * KR_LINE, "head");
static_assert(offsetof(struct kr_header, data_request) == 3 * KR_LINE, "data_request");
static_assert(offsetof(struct kr_header, space_request) == 4 * KR_LINE, "space_request");
static_assert(offsetof(struct kr_header, producer) == 5 * KR_LINE, "producer claim");
static_assert(offsetof(struct kr_header, consumer) == 6 * KR_LINE, "consumer claim");
static_assert(offsetof(struct kr_header, events_in) == 7 * KR_LINE, "producer counters");
static_assert(offsetof(struct kr_header, events_out) == 8 * KR_LINE, "consumer counters");
static_assert(offsetof(struct kr_header, producer_words) == 9 * KR_LINE, "producer words");
static_assert(offsetof(struct kr_header, consumer_words) == 10 * KR_LINE, "consumer words");
static_assert(offsetof(struct kr_header, note) == 11 * KR_LINE, "note");
static_assert(offsetof(struct kr_header, stamp) == 13 * KR_LINE, "stamps");
static_assert(offsetof(struct kr_header, time_counts) == 21 * KR_LINE, "times");
static_assert(offsetof(struct kr_header, label) == 23 * KR_LINE, "label");
static_assert(sizeof(struct kr_header) <= 4096, "the header fits the smallest page");
static_assert(sizeof(kr_word) == 8 && sizeof(kr_word32) == 4, "words are plain integers in memory");

#endif
