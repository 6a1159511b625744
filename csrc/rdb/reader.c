/* The records of an RDB, and the batches of them. walk.c runs over the values. */
#include "rdb/reader.h"

#include <stdlib.h>
#include <string.h>

#include "rdb/walk.h"

#define SLICE_BYTES (256u << 10) /* taken in at once: the block is at most this much larger than a batch and a record */
#define HEADER_BYTES 9
#define CHECKSUM_BYTES 8
#define FIRST_WITH_CHECKSUM 5

static void begin_record(struct kr_rdb *reader)
{
    uint32_t db = reader->next.db;
    reader->next = (kr_rdb_entry){.expires_at_ms = -1, .idle_s = -1, .frequency = -1, .db = db};
}

kr_rdb *kr_rdb_new(uint64_t part_bytes)
{
    struct kr_rdb *reader = calloc(1, sizeof *reader);
    if (!reader)
        return NULL;
    reader->part_bytes = part_bytes ? part_bytes : UINT64_MAX;
    begin_record(reader);
    return reader;
}

void kr_rdb_free(kr_rdb *reader)
{
    if (!reader)
        return;
    free(reader->block);
    free(reader->entries);
    free(reader->keys);
    free(reader);
}

/* Makes room for `needed` items. The memory at least doubles, so that growing costs little. 0, or KR_E_NOMEM. */
static int make_room(void *memory, uint64_t *room, uint64_t needed, uint64_t item)
{
    void **block = memory, *more;
    if (needed <= *room)
        return 0;
    uint64_t larger = *room * 2 > needed ? *room * 2 : needed;
    if (larger > SIZE_MAX / item || !(more = realloc(*block, larger * item)))
        return KR_E_NOMEM;
    *block = more;
    *room = larger;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ the block */

static int take_in(struct kr_rdb *reader, const char *bytes, uint64_t length)
{
    if (make_room(&reader->block, &reader->room, reader->size + length, 1))
        return KR_E_NOMEM;
    memcpy(reader->block + reader->size, bytes, length);
    reader->size += length;
    return 0;
}

static void checksum_upto(struct kr_rdb *reader, uint64_t end)
{
    reader->crc = kr_crc64(reader->crc, (const char *)reader->block + reader->crc_at, end - reader->crc_at);
    reader->crc_at = end;
}

/* Forgets the entries, and the bytes before the record or the part that the walk is in. */
static void forget(struct kr_rdb *reader)
{
    uint64_t gone = reader->kept_from;
    reader->count = reader->keys_size = 0;
    if (reader->phase == VALUE) {
        memmove(reader->keys, reader->keys + reader->next.key_at, reader->next.key_bytes);
        reader->next.key_at = 0;
        reader->keys_size = reader->next.key_bytes;
    }
    checksum_upto(reader, gone);
    memmove(reader->block, reader->block + gone, reader->size - gone);
    reader->base += gone;
    reader->size -= gone;
    reader->at -= gone;
    reader->crc_at = reader->kept_from = 0;
    reader->begin = reader->begin > gone ? reader->begin - gone : 0;
    reader->from = reader->from > gone ? reader->from - gone : 0;
    reader->upto = reader->upto > gone ? reader->upto - gone : 0;
}

/* ---------------------------------------------------------------------------------------------- the entries */

static int emit(struct kr_rdb *reader, uint64_t from, uint64_t upto)
{
    if (make_room(&reader->entries, &reader->entries_room, reader->count + 1, sizeof *reader->entries))
        return KR_E_NOMEM;
    reader->next.type = (uint8_t)reader->mark;
    reader->next.value_at = from;
    reader->next.value_bytes = upto - from;
    reader->next.elements = reader->elements;
    reader->entries[reader->count++] = reader->next;
    return 0;
}

/* The elements that are whole become a part. */
static int emit_part(struct kr_rdb *reader)
{
    reader->next.part = reader->next.part ? 2 : 1;
    if (emit(reader, reader->from, reader->upto))
        return KR_E_NOMEM;
    reader->elements = 0;
    reader->begin = reader->from = reader->kept_from = reader->upto;
    return 0;
}

static int end_value(struct kr_rdb *reader)
{
    int is_part = reader->next.part != 0;
    if (is_part)
        reader->next.part = 3;
    if (emit(reader, is_part ? reader->from : reader->begin, reader->at))
        return KR_E_NOMEM;
    begin_record(reader);
    reader->kept_from = reader->at;
    reader->phase = MARK;
    return 0;
}

/* The key is whole. */
static int end_key(struct kr_rdb *reader)
{
    struct kr_rdb_string string;
    int head = kr_rdb_string_head(reader->block + reader->begin, reader->block + reader->at, &string);
    if (make_room(&reader->keys, &reader->keys_room, reader->keys_size + string.plain + 1, 1))
        return KR_E_NOMEM;
    int64_t length = kr_rdb_string_copy(&string, reader->block + reader->begin + head, reader->keys + reader->keys_size);
    if (length < 0)
        return KR_E_RDB_STRING;
    reader->next.key_at = reader->keys_size;
    reader->next.key_bytes = (uint64_t)length;
    reader->keys_size += (uint64_t)length;
    struct kr_rdb_layout layout = kr_rdb_value_layout(reader->flavour, reader->mark);
    reader->phase = VALUE;
    reader->begin = reader->at;
    if (!layout.steps)
        return KR_E_RDB_TYPE;
    kr_rdb_walk_begin(reader, layout.steps, layout.in_parts);
    return 0;
}

/* ---------------------------------------------------------------------------------------------- the records */

static int read_header(struct kr_rdb *reader)
{
    const unsigned char *at = reader->block;
    int is_valkey = !memcmp(at, "VALKEY", 6);
    if (!is_valkey && memcmp(at, "REDIS", 5))
        return KR_E_RDB_MAGIC;
    for (int i = is_valkey ? 6 : 5; i < HEADER_BYTES; i++) {
        if (at[i] < '0' || at[i] > '9')
            return KR_E_RDB_MAGIC;
        reader->version = 10 * reader->version + (at[i] - '0');
    }
    reader->flavour = is_valkey ? KR_RDB_VALKEY : KR_RDB_REDIS;
    reader->at = reader->kept_from = HEADER_BYTES;
    reader->phase = MARK;
    return 0;
}

static int read_mark(struct kr_rdb *reader)
{
    reader->mark = reader->block[reader->at++];
    reader->begin = reader->at;
    if (reader->mark == KR_RDB_END) {
        reader->phase = reader->version < FIRST_WITH_CHECKSUM ? ENDED : CHECKSUM;
        return 0;
    }
    const char *steps = kr_rdb_record_steps(reader->flavour, reader->mark);
    if (!steps && reader->mark >= KR_RDB_SLOT_IMPORT)
        return KR_E_RDB_TYPE;
    reader->phase = steps ? RECORD : KEY;
    kr_rdb_walk_begin(reader, steps ? steps : "s", 0);
    return 0;
}

/* A record that is no key is whole: it says something about the next key, or becomes an entry itself. */
static int end_record(struct kr_rdb *reader)
{
    const unsigned char *from = reader->block + reader->begin, *end = reader->block + reader->at;
    uint64_t number = 0;
    kr_rdb_length(from, end, &number);
    reader->phase = MARK;
    reader->kept_from = reader->at;
    switch (reader->mark) {
    case KR_RDB_DATABASE:
        if (number > UINT32_MAX)
            return KR_E_RDB_LENGTH;
        reader->next.db = (uint32_t)number;
        return 0;
    case KR_RDB_EXPIRES_MS:
        reader->next.expires_at_ms = (int64_t)kr_rdb_little(from, 8);
        return 0;
    case KR_RDB_EXPIRES_S:
        reader->next.expires_at_ms = (int64_t)kr_rdb_little(from, 4) * 1000;
        return 0;
    case KR_RDB_IDLE:
        reader->next.idle_s = (int64_t)number;
        return 0;
    case KR_RDB_FREQUENCY:
        reader->next.frequency = *from;
        return 0;
    case KR_RDB_SIZES:
    case KR_RDB_SLOT_INFO:
        return 0;
    default:
        return emit(reader, reader->begin, reader->at);
    }
}

static int check_checksum(struct kr_rdb *reader)
{
    checksum_upto(reader, reader->at);
    uint64_t said = kr_rdb_little(reader->block + reader->at, CHECKSUM_BYTES);
    reader->at += CHECKSUM_BYTES;
    reader->phase = ENDED;
    return said && said != reader->crc ? KR_E_RDB_CHECKSUM : 0; /* 0: the server did not compute it */
}

/* ------------------------------------------------------------------------------------------------- the walk */

/* Runs the walk of a key, a value or a record. Returns 1 when it is whole, 0 for more bytes, or an error. */
static int run(struct kr_rdb *reader)
{
    int done = kr_rdb_walk(reader);
    if (done <= 0)
        return done;
    int failed = reader->phase == KEY ? end_key(reader) : reader->phase == VALUE ? end_value(reader) : end_record(reader);
    return failed ? failed : 1;
}

/* One step. Returns 1, 0 if it needs more bytes, or an error. */
static int step(struct kr_rdb *reader)
{
    uint64_t needed = reader->phase == HEADER ? HEADER_BYTES : reader->phase == CHECKSUM ? CHECKSUM_BYTES : 1;
    if (reader->phase == KEY || reader->phase == VALUE || reader->phase == RECORD)
        return run(reader);
    if (reader->size - reader->at < needed)
        return 0;
    int failed = reader->phase == HEADER ? read_header(reader) : reader->phase == MARK ? read_mark(reader) : check_checksum(reader);
    return failed ? failed : 1;
}

/* Whether the value has to be handed over as far as it is whole. */
static int part_is_due(const struct kr_rdb *reader)
{
    return reader->phase == VALUE && reader->in_parts && reader->elements && reader->size - reader->kept_from > reader->part_bytes;
}

static int walk(struct kr_rdb *reader)
{
    for (;;) {
        if (reader->phase == ENDED)
            return KR_RDB_DONE;
        if (reader->phase == MARK && reader->at >= KR_RDB_BATCH_BYTES) /* also without an entry: records that make none take memory too */
            return KR_RDB_BATCH;
        int answer = step(reader);
        if (answer < 0)
            return answer;
        if (answer)
            continue;
        if (!part_is_due(reader))
            return KR_RDB_MORE;
        return emit_part(reader) ? KR_E_NOMEM : KR_RDB_BATCH;
    }
}

/* Takes bytes until a batch is full, the file ends, or all are taken; `taken` says how many. After an error the reader only fails. */
int kr_rdb_feed(kr_rdb *reader, const char *bytes, uint64_t length, uint64_t *taken)
{
    uint64_t used = *taken = 0;
    int answer;
    if (reader->failed)
        return KR_E_RDB_FAILED;
    if (reader->is_full)
        forget(reader);
    reader->is_full = 0;
    while ((answer = walk(reader)) == KR_RDB_MORE && used < length) {
        uint64_t slice = length - used < SLICE_BYTES ? length - used : SLICE_BYTES;
        if ((answer = take_in(reader, bytes + used, slice)))
            break;
        used += slice;
    }
    if (answer < 0)
        reader->failed = answer;
    reader->is_full = answer > 0;
    if (answer > 0 && (reader->phase == MARK || reader->phase == ENDED)) {
        used -= reader->size - reader->at; /* the caller gives them again, or they are behind the file. All came in this call */
        reader->size = reader->at;
    }
    *taken = used;
    return answer;
}

/* The entries so far. They and their bytes stay where they are until the next call of kr_rdb_feed(). */
void kr_rdb_entries(kr_rdb *reader, kr_rdb_batch *out)
{
    *out = (kr_rdb_batch){.block = (const char *)reader->block,
                          .keys = reader->keys,
                          .key = reader->phase == VALUE ? reader->keys + reader->next.key_at : NULL,
                          .key_bytes = reader->phase == VALUE ? reader->next.key_bytes : 0,
                          .entries = reader->entries,
                          .count = reader->count,
                          .position = reader->base + reader->at,
                          .type = reader->mark,
                          .version = reader->version,
                          .is_valkey = reader->flavour == KR_RDB_VALKEY,
                          .db = reader->next.db};
}
