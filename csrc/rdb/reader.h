/* Reads an RDB that arrives in pieces of any size, without a file and without decoding the values.
 *
 * The bytes are gathered in one block. A record that is complete there becomes an entry; a batch of entries is handed over when the
 * block holds KR_RDB_BATCH_BYTES. What is unfinished moves to the start of the block. A walk that needs more bytes continues where it
 * stopped, so no byte is looked at twice. A value larger than `part_bytes` is handed over in parts, between two of its elements.
 *
 * Trust: the bytes come from another machine. Every length is checked against what has arrived, and memory grows only with
 * bytes that have arrived. */
#ifndef KR_RDB_READER_H
#define KR_RDB_READER_H

#include "kevy_ring.h"
#include "rdb/coding.h"
#include "rdb/layout.h"

#define DEPTH 4 /* loops inside each other: groups of a stream, their consumers, the ids of each */

struct kr_rdb_loop {
    const char *body;
    uint64_t left;
};

struct kr_rdb {
    /* The block: bytes of the file from `base` on. */
    unsigned char *block;
    uint64_t base, size, room;
    uint64_t at;        /* the walk */
    uint64_t kept_from; /* the block is needed from here on */
    uint64_t crc, crc_at;

    enum { HEADER, MARK, KEY, VALUE, RECORD, CHECKSUM, ENDED } phase;
    enum kr_rdb_flavour flavour;
    unsigned version;
    uint64_t part_bytes;

    /* The program that the walk runs. */
    const char *step;
    struct kr_rdb_loop loops[DEPTH];
    int depth;
    uint64_t skip; /* bytes of a string that have not come yet */
    int in_module;

    /* The record. */
    unsigned mark;      /* its first byte: a type, or the mark of a record that is no key */
    uint64_t begin;     /* of what the phase reads: the key, the value, or the rest of the value behind its last part */
    uint64_t elements;  /* of the value, since the last part; of a string its bytes */
    uint64_t from;      /* of the first of these elements */
    uint64_t upto;      /* behind the last of them */
    int in_parts;
    kr_rdb_entry next;  /* what is known of it */

    kr_rdb_entry *entries;
    uint64_t count, entries_room;
    char *keys;
    uint64_t keys_size, keys_room;
    int is_full; /* a batch was handed over: the next call forgets it */
    int failed;  /* the code of the error */
};

#endif
