/* The interface of the C core. cffi reads the text between the two markers as it is: plain declarations only, of
 * everything that Python uses through cffi. The functions below the second marker are called from C: csrc/python has them.
 *
 * Results: >= 0 is an answer, < 0 is one of the KR_E_ codes. Nothing here calls Python, takes the GIL,
 * prints or exits. Every function of a producer, sender or consumer may be called from any thread of the process. */
#ifndef KEVY_RING_H
#define KEVY_RING_H

#include <stddef.h>
#include <stdint.h>

/* CDEF BEGIN */
#define KR_E_CLOSED -1      /* this handle was closed by its own side */
#define KR_E_FORKED -2      /* this handle belongs to the process before the fork */
#define KR_E_PEER_CLOSED -3 /* the other side closed its end */
#define KR_E_PEER_DEAD -4   /* the other side's process is gone */
#define KR_E_CORRUPT -5     /* kr_consumer_fault() says where */
#define KR_E_TOO_LARGE -6   /* can never fit */
#define KR_E_NOMEM -7
#define KR_E_BUSY -8        /* a reservation or a batch is open */
#define KR_E_TAKEN -9       /* a live process holds the role */
#define KR_E_SYSTEM -10     /* errno in kr_failure.err */
#define KR_E_MISSING -11    /* no such segment */
#define KR_E_NOT_READY -12  /* the creator has not finished */
#define KR_E_NOT_A_RING -13
#define KR_E_VERSION -14
#define KR_E_GEOMETRY -15
#define KR_E_SPACE -16      /* kr_failure.needed and .free_bytes */
#define KR_E_OWNER -17      /* the segment belongs to another user */
#define KR_E_ARGUMENT -18
#define KR_RESERVE_FULL -100 /* kr_producer_reserve(): no room now. This is a value and no failure */

#define KR_VERSION 2             /* of the segment's layout */
#define KR_RECORD_BYTES 16       /* of a record's header */
#define KR_LENGTH_MAX 4294967264 /* of a payload, so that header, payload and padding stay below 2**32 */

/* Kinds of a record. */
#define KR_KIND_BYTES 0 /* of a ring that is no inbox */
#define KR_KIND_SNAPSHOT_BEGIN 1
#define KR_KIND_SNAPSHOT_CHUNK 2
#define KR_KIND_SNAPSHOT_END 3
#define KR_KIND_FRAME 4
#define KR_KIND_LAST 4

/* Flags of a record. An event larger than the ring travels as several records: the first, any number between, the last. */
#define KR_FLAG_FRAGMENT 1
#define KR_FLAG_FIRST 2
#define KR_FLAG_LAST 4
#define KR_FLAGS_KNOWN 7

/* Limits of events, in the ring and on the wire. */
#define KR_CHUNK_MAX 1073741824 /* bytes of a chunk that is written in place */
#define KR_ARGUMENTS_MAX 1048576
#define KR_ARGUMENT_MAX 536870912 /* bytes of one argument */
#define KR_COMMAND_MAX 1073741824 /* bytes of all arguments of a command */

#define KR_SEGMENT_KEPT 1 /* flag of a segment: it outlives its creator on purpose */
#define KR_LABEL_BYTES 256

#define KR_WAIT_TIMEOUT 0
#define KR_WAIT_READY 1
#define KR_WAIT_GONE 2        /* the peer is closed or dead (and, for the consumer, nothing is left) */
#define KR_WAIT_INTERRUPTED 3 /* by a signal: let the caller's handlers run, then wait again */

#define KR_SEND_RING 0
#define KR_SEND_OVERFLOW 1  /* bit: something went to the overflow */
#define KR_SEND_NO_THREAD 2 /* bit: the system refused a thread for the pump. Said once; each later overflow tries again */

#define KR_MARK_NONE 0 /* no mark was crossed in time */
#define KR_MARK_HIGH 1 /* the overflow rose to the high mark */
#define KR_MARK_LOW 2  /* it fell back to the low mark */
#define KR_MARK_END 3  /* the marks were removed or replaced */

typedef struct kr_map kr_map;
typedef struct kr_producer kr_producer;
typedef struct kr_sender kr_sender;
typedef struct kr_consumer kr_consumer;

typedef struct {
    int32_t code;
    int32_t err;
    uint64_t needed; /* with KR_E_VERSION: the version that was found */
    uint64_t free_bytes;
    uint32_t pid;
} kr_failure;

typedef struct {
    uint32_t state; /* 0 vacant, 1 alive, 2 dead, 3 closed */
    uint32_t pid;
    uint64_t start;
    uint64_t epoch;
} kr_role_info;

typedef struct {
    uint64_t capacity, head, tail, created_unix_ns;
    uint32_t version, creator_pid, flags;
    uint64_t creator_start;
    kr_role_info producer, consumer;
    uint64_t events_in, bytes_in, publishes, full_hits, data_wakes;
    uint64_t events_out, bytes_out, drains, space_wakes, last_drain_ns, now_ns;
    uint64_t producer_words[16], consumer_words[16];
    char label[256]; /* without a final zero if it is full */
} kr_stats;

/* The three files of a segment: itself, its data doorbell and its space doorbell. */
typedef struct {
    uint64_t device[3], inode[3];
} kr_identity;

#define KR_TIME_BOUNDS 25

/* How long the stamped records that were released had been in the ring. counts[i]: at most kr_time_bounds_ns[i] and
 * more than the bound before; the last one: longer than all bounds. */
typedef struct {
    uint64_t counts[26], total_ns;
    uint64_t oldest_ns; /* when the oldest stamped record that is still in the ring was published; 0: there is none */
    uint64_t now_ns;
} kr_times;

#define KR_SCAN_NEED 0  /* the bytes end within a frame, or at its end */
#define KR_SCAN_OTHER 1 /* there is no plain frame at `consumed`: a control line, or an error at `stopped_at` */
#define KR_SCAN_GAP 2   /* the frame at `consumed` has another offset than the expected one */

typedef struct kr_scanner kr_scanner;

typedef struct {
    uint64_t consumed;    /* bytes of whole frames */
    uint64_t frames;
    uint64_t last_offset; /* of the last frame, if there was one */
    uint64_t stopped_at;  /* the byte at which the scan stopped */
    int32_t why;
} kr_scan;

typedef struct {
    uint64_t events, bytes, peak_bytes, oldest_ns, now_ns;
} kr_overflow_info;

/* The markers that were sent. `ended` includes those that predecessors published. */
typedef struct {
    uint64_t ended;
    uint32_t is_open; /* 1: the last marker was a SnapshotBegin */
} kr_snapshots_sent;

/* The events that one inbox of this process still has in its overflow. */
typedef struct {
    char name[256];
    uint64_t events;
} kr_left;

#define KR_RESUME_FLAG_KNOWN 1          /* the offset is that of the last published event */
#define KR_RESUME_FLAG_AFTER_SNAPSHOT 2 /* that event is a SnapshotEnd */
#define KR_RESUME_FLAG_IN_SNAPSHOT 4

typedef struct {
    uint64_t offset, db;
    uint64_t snapshots; /* SnapshotEnds published since the ring was made */
    uint32_t flags;
    char upstream_id[64]; /* without a final zero if it is full; all zero: not known */
} kr_resume_point;

/* Segments. kr_map_prepare() expects an empty shared-memory object of that name. It fills in everything except the magic
 * and the doorbells. kr_map_finish() adds those, under the name that the segment has by then. */
uint64_t kr_page_bytes(void);
kr_map *kr_map_prepare(const char *name, uint64_t capacity, uint32_t flags, const char *label, uint64_t label_bytes, kr_failure *why);
int kr_map_finish(kr_map *map, const char *name, kr_failure *why);
kr_map *kr_map_attach(const char *name, kr_failure *why);
void kr_map_close(kr_map *map);
uint64_t kr_map_capacity(kr_map *map);
int64_t kr_map_file_bytes(kr_map *map); /* -1: the name was removed */
void kr_map_stats(kr_map *map, kr_stats *out);
void kr_map_times(kr_map *map, kr_times *out);
extern const uint64_t kr_time_bounds_ns[25];
int kr_map_identity(kr_map *map, kr_identity *out); /* 0, or an errno. A doorbell that is not open yet is all zeros */
/* From now on this process is responsible for the ring, as its creator was. label: NULL leaves the old one. */
void kr_map_adopt(kr_map *map, const char *label, uint64_t label_bytes);
void kr_map_resume(kr_map *map, kr_resume_point *out);
int kr_process_alive(uint32_t pid, uint64_t start);
uint32_t kr_forks_made(void);

/* The mirrored data area, 2 * capacity bytes. Call kr_area_free() when the last view of it is gone. */
char *kr_area_map(kr_map *map, kr_failure *why);
void kr_area_free(char *area);

/* The producer role. A new handle has no role. kr_producer_take() takes it once, and returns 0 if the handle has it. So the
 * caller owns the handle before it takes the role, and an interruption between the two loses nothing. */
kr_producer *kr_producer_new(kr_map *map, char *area);
int kr_producer_take(kr_producer *producer, kr_failure *why);
int kr_producer_has_role(kr_producer *producer);
void kr_producer_close(kr_producer *producer);
void kr_producer_free(kr_producer *producer);
int64_t kr_producer_write_many(kr_producer *producer, const char *joined, uint64_t total, const uint32_t *lengths, uint64_t count);
int kr_producer_wait(kr_producer *producer, uint64_t length, int64_t timeout_ns);
int kr_producer_peer(kr_producer *producer, kr_role_info *out);
int kr_producer_accept_successor(kr_producer *producer); /* of a consumer that ended; 1: the handle is usable */
int kr_producer_set_word(kr_producer *producer, uint32_t which, uint64_t value);
int kr_producer_wait_fd(kr_producer *producer, uint64_t length);

/* The sender of an inbox: a producer, and behind it the overflow, which takes events that do not fit. A thread of the core
 * moves the overflow into the ring. kr_sender_new() and kr_sender_take() are as those of a producer. If a handle is freed
 * with events in its overflow, it lives on until they are moved. kr_sender_close() returns how many events of the overflow
 * are lost. The caller may use kr_sender_producer() to look, to wait and to set a word. The sender makes, closes and frees
 * its producer itself. */
kr_sender *kr_sender_new(kr_map *map, char *area);
int kr_sender_take(kr_sender *sender, kr_failure *why);
kr_producer *kr_sender_producer(kr_sender *sender);
uint64_t kr_sender_close(kr_sender *sender);
int kr_sender_close_when_drained(kr_sender *sender); /* 1: it is closed; 0: it will be */
void kr_sender_free(kr_sender *sender);
int kr_sender_rebase(kr_sender *sender, char *area);
int kr_chunk_abort(kr_sender *sender); /* ends the reservation of kr_chunk_reserve() */
int kr_sender_set_upstream(kr_sender *sender, const char *id, uint64_t length, uint64_t db);
int kr_sender_snapshots(kr_sender *sender, kr_snapshots_sent *out);

int kr_flush(kr_sender *sender, int64_t timeout_ns);
int kr_flushed_fd(kr_sender *sender);
int kr_overflow_next_mark(kr_sender *sender, int64_t watch, int64_t timeout_ns);
void kr_overflow_read(kr_sender *sender, kr_overflow_info *out);
int64_t kr_overflow_marks(kr_sender *sender, uint64_t high, uint64_t low);

/* All inboxes of this process, for its end. kr_inboxes_flush() waits until all overflows are empty, and returns how many
 * are not; a signal ends the wait early. kr_inboxes_left() lists those, and kr_inboxes_close() gives all roles up. */
uint64_t kr_inboxes_flush(int64_t timeout_ns);
uint64_t kr_inboxes_left(kr_left *out, uint64_t room);
void kr_inboxes_close(void);

/* Writes a run of frames from received bytes straight into the ring (or the overflow), with one publish. `bytes` begins at
 * a frame. After KR_SCAN_NEED the next call must begin with the same unfinished frame and more bytes behind it; the scan
 * continues where it stopped. The scan stops at anything that is no plain frame in canonical form: the protocol reads it. */
kr_scanner *kr_scanner_new(void);
void kr_scanner_free(kr_scanner *scanner);
void kr_scanner_reset(kr_scanner *scanner);
int kr_scan_kevy(kr_sender *sender, kr_scanner *scanner, const char *bytes, uint64_t length, uint64_t next_offset, kr_scan *out);
int kr_scan_redis(kr_sender *sender, kr_scanner *scanner, const char *bytes, uint64_t length, uint64_t base_offset, kr_scan *out);

/* The consumer role. kr_consumer_new() and kr_consumer_take() are as those of a producer. */
kr_consumer *kr_consumer_new(kr_map *map, char *area);
int kr_consumer_take(kr_consumer *consumer, kr_failure *why);
void kr_consumer_close(kr_consumer *consumer);
void kr_consumer_free(kr_consumer *consumer);
int kr_consumer_wait(kr_consumer *consumer, int64_t timeout_ns, int64_t spin_ns);
int kr_consumer_wait_fd(kr_consumer *consumer);
int kr_consumer_peer(kr_consumer *consumer, kr_role_info *out);
int kr_consumer_pass_end(kr_consumer *consumer, uint64_t epoch); /* of the kr_role_info: a successor may take the role */
int kr_consumer_set_word(kr_consumer *consumer, uint32_t which, uint64_t value);
int kr_consumer_fault(kr_consumer *consumer, uint64_t *position);

/* Over a batch and its columns, as kr_consumer_drain() fills them. */
int64_t kr_batch_argument(const char *batch, char *columns, uint64_t records, uint64_t count, int64_t k, uint64_t *starts,
                          uint32_t *lengths);
int64_t kr_batch_join(const char *batch, char *columns, uint64_t records, uint64_t count, char *out, uint64_t *ends);
int64_t kr_batch_pack(const char *batch, char *columns, uint64_t records, uint64_t count, char *out, uint64_t *ends);

/* An RDB that arrives in pieces: csrc/rdb. */
#define KR_RDB_BATCH_BYTES 1048576
#define KR_RDB_MARK_FIRST 240 /* an entry with this type or a higher one is not a key */
#define KR_RDB_MARK_FUNCTION 245
#define KR_RDB_MORE 0  /* all bytes were taken, and the file is not complete */
#define KR_RDB_BATCH 1 /* there are entries; call again with the rest */
#define KR_RDB_DONE 2  /* the file is complete, and so are the entries */
#define KR_E_RDB_MAGIC -30
#define KR_E_RDB_TYPE -31     /* a type or a mark that this version does not know */
#define KR_E_RDB_LENGTH -32   /* no length where one is due */
#define KR_E_RDB_STRING -33   /* a string in an unknown code, or one that cannot be decompressed */
#define KR_E_RDB_MODULE -34   /* an unknown opcode in the value of a module */
#define KR_E_RDB_CHECKSUM -35
#define KR_E_RDB_TRAILING -36 /* bytes behind the end */
#define KR_E_RDB_FAILED -37   /* an earlier call failed */

typedef struct kr_rdb kr_rdb;
typedef struct {
    uint64_t key_at, key_bytes;     /* in the keys of the batch */
    uint64_t value_at, value_bytes; /* in the block of the batch: as RESTORE takes it, but for the first byte, which is `type` */
    uint64_t elements;              /* of a part */
    int64_t expires_at_ms;          /* -1: it does not expire */
    int64_t idle_s;                 /* -1: not said */
    int64_t expiry_base_ms;         /* of a part of a hash of type 24: its fields' expiries count from here */
    int16_t frequency;              /* -1: not said */
    uint8_t type;                   /* below 240: of the key's value; from 240 on: the mark of a record that is no key */
    uint8_t part;                   /* 0: whole; 1: the first part, 2: one between, 3: the last */
    uint32_t db;
} kr_rdb_entry;
typedef struct {
    const char *block, *keys, *key; /* key: of the value that the walk is in; NULL outside a value */
    const kr_rdb_entry *entries;
    uint64_t key_bytes;
    uint64_t count;
    uint64_t position; /* of the walk, in the file: after an error, where it is */
    uint32_t type;     /* of the record that the walk is in */
    uint32_t version, is_valkey, db;
} kr_rdb_batch;
kr_rdb *kr_rdb_new(uint64_t part_bytes); /* values larger than this are handed over in parts; 0: never */
void kr_rdb_free(kr_rdb *reader);
int kr_rdb_feed(kr_rdb *reader, const char *bytes, uint64_t length, uint64_t *taken);
void kr_rdb_entries(kr_rdb *reader, kr_rdb_batch *out);

/* CRC-64/Jones of the bytes, continued from `crc` (0 at first). Over bytes that end with their checksum it is 0. */
uint64_t kr_crc64(uint64_t crc, const char *bytes, uint64_t length);
/* CDEF END */

int kr_area_freeze(char *area, uint64_t index, uint64_t span);

/* Bytes that belong to the caller. */
typedef struct {
    const char *bytes;
    uint64_t length;
} kr_piece;

/* Records of kind KR_KIND_BYTES, in order until one does not fit; one publish. Returns how many fitted. */
int64_t kr_producer_write_pieces(kr_producer *producer, const kr_piece *pieces, uint64_t count);

/* One record that is written in place. kr_producer_reserve() returns the index of its payload in the mirrored area. */
int64_t kr_producer_reserve(kr_producer *producer, uint64_t length);
int kr_producer_commit(kr_producer *producer, uint64_t length);
int kr_producer_abort(kr_producer *producer);
int kr_producer_publish(kr_producer *producer);

/* Events of any kind; one publish. `kinds`: NULL if all are frames. `argcs[i]` pieces belong to event i: to a frame at
 * least one, to a chunk one, to the two markers none. `*accepted` is less than `count` if there is no memory for the next
 * event, or it is too large. */
int kr_send_pieces(kr_sender *sender, uint64_t count, const uint8_t *kinds, const uint64_t *offsets, const uint32_t *argcs,
                   const kr_piece *pieces, uint64_t *accepted);

/* A chunk that is written in place. While it is reserved, other events of this sender wait in the overflow. */
int64_t kr_chunk_reserve(kr_sender *sender, uint64_t length); /* answers as kr_producer_reserve() */
int kr_chunk_commit(kr_sender *sender, uint64_t length);      /* answers as kr_send_pieces() */

typedef struct {
    uint64_t position; /* of the first record header */
    uint64_t index;    /* of the same header, in the mirrored area */
    uint64_t span;     /* bytes of all records, headers and padding included */
    uint32_t count;
    uint32_t more;     /* 1: more records are published behind this batch */
    uint32_t frames;   /* how many of the records are frames */
    uint32_t fragment; /* 1: count is 1 and the record is a fragment of a larger event */
    uint32_t flags;    /* flags of the fragment */
} kr_batch;

/* `columns` has room for `max_records` records: u64 offsets, u64 starts (of the payloads, from the first record
 * header of the batch), u32 lengths, u32 argcs, u8 kinds; 25 bytes a record. */
int64_t kr_consumer_drain(kr_consumer *consumer, uint64_t max_records, uint64_t max_bytes, char *columns, kr_batch *out);
int64_t kr_batch_resp(const char *batch, char *columns, uint64_t records, uint64_t count, char *out, uint64_t room);
int kr_consumer_release(kr_consumer *consumer, uint64_t position, uint64_t events, int done);
void kr_consumer_rebase(kr_consumer *consumer, char *area);

#endif
