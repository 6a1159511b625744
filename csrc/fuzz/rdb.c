/* The reader of RDBs: for any bytes it reads only those bytes, and its result is the same for any cuts.
 *
 *   input   u8 size of parts, 6 * u16 cuts, the bytes of the file
 *
 * The encodings inside the values are read too: each string of a value is tried as each of them. */
#include <stdlib.h>
#include <string.h>

#include "hostile_ring.h"
#include "rdb/coding.h"
#include "rdb/packed.h"

#define CUTS 6
#define PLAIN_MAX (1u << 20) /* longer strings are not decompressed here */

/* The whole result of a reading. */
struct verdict {
    uint64_t keys, entries, taken, position, digest, key_digest;
    int answer;
};

struct cut_file {
    const uint8_t *bytes;
    size_t size, cuts[CUTS + 1];
    uint64_t part_bytes;
};

static void note(uint64_t *digest, const void *bytes, uint64_t count)
{
    const uint8_t *at = bytes;
    for (uint64_t i = 0; i < count; i++)
        *digest = (*digest ^ at[i]) * 0x100000001b3;
}

static void unpack(const unsigned char *bytes, uint64_t length)
{
    for (int form = KR_LISTPACK; form <= KR_ZIPMAP; form++) {
        struct kr_packed packed;
        struct kr_packed_item item;
        uint64_t items = 0, unused = 0;
        if (kr_packed_begin(&packed, form, bytes, length))
            continue;
        for (int more; (more = kr_packed_next(&packed, &item)) > 0; items++) {
            MUST(packed.at <= packed.end && items < length);
            if (item.bytes)
                note(&unused, item.bytes, item.length);
        }
    }
}

/* Decodes what lies at the start of a value, if that is a string, and what lies behind it, up to some number of strings. */
static void decode(const unsigned char *at, const unsigned char *end)
{
    struct kr_rdb_string string;
    for (int i = 0; i < 64; i++) {
        int head = kr_rdb_string_head(at, end, &string);
        if (head <= 0 || (uint64_t)(end - at) - (uint64_t)head < string.stored || string.plain > PLAIN_MAX)
            return;
        char *plain = malloc(string.plain ? string.plain : 1);
        MUST(plain);
        int64_t length = kr_rdb_string_copy(&string, at + head, plain);
        MUST(length <= (int64_t)string.plain);
        char *exact = malloc(length > 0 ? (size_t)length : 1);
        if (length > 0) {
            memcpy(exact, plain, (size_t)length);
            unpack((const unsigned char *)exact, (uint64_t)length);
        }
        free(exact);
        free(plain);
        at += (uint64_t)head + string.stored;
    }
}

static void note_batch(const kr_rdb *reader, struct verdict *verdict)
{
    kr_rdb_batch batch;
    kr_rdb_entries((kr_rdb *)(uintptr_t)reader, &batch);
    verdict->position = batch.position;
    for (uint64_t i = 0; i < batch.count; i++) {
        const kr_rdb_entry *entry = batch.entries + i;
        const unsigned char *value = (const unsigned char *)batch.block + entry->value_at;
        if (entry->part < 2) {
            verdict->keys++;
            note(&verdict->key_digest, &entry->type, 1);
            note(&verdict->key_digest, batch.keys + entry->key_at, entry->key_bytes);
        }
        verdict->entries++;
        note(&verdict->digest, &entry->expires_at_ms, 8);
        note(&verdict->digest, &entry->db, 4);
        note(&verdict->digest, value, entry->value_bytes);
        decode(value, value + entry->value_bytes);
    }
}

/* Reads the file in pieces. Every piece has its own memory of exactly its size. */
static struct verdict read_in_pieces(const struct cut_file *file, unsigned pieces)
{
    struct verdict verdict = {0};
    kr_rdb *reader = kr_rdb_new(file->part_bytes);
    size_t from = 0;
    MUST(reader);
    for (unsigned i = 0; i < pieces && verdict.answer != KR_RDB_DONE && verdict.answer >= 0; i++) {
        size_t to = file->cuts[i];
        char *piece = malloc(to > from ? to - from : 1);
        memcpy(piece, file->bytes + from, to - from);
        uint64_t at = 0, taken;
        do {
            verdict.answer = kr_rdb_feed(reader, piece + at, to - from - at, &taken);
            MUST(taken <= to - from - at);
            at += taken;
            if (verdict.answer > 0)
                note_batch(reader, &verdict);
        } while (verdict.answer == KR_RDB_BATCH);
        verdict.taken += at;
        free(piece);
        from = to;
    }
    if (verdict.answer <= 0)
        note_batch(reader, &verdict); /* what came before the error */
    if (verdict.answer < 0) {
        uint64_t taken;
        MUST(kr_rdb_feed(reader, "", 0, &taken) == KR_E_RDB_FAILED && !taken);
    }
    kr_rdb_free(reader);
    return verdict;
}

static int smaller(const void *left, const void *right)
{
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    return a < b ? -1 : a > b;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint64_t part_bytes[4] = {0, 0, 1, 50};
    struct input input = {bytes, bytes + size};
    struct cut_file file = {.part_bytes = part_bytes[input_number(&input, 1) % 4]}, whole;
    for (unsigned i = 0; i < CUTS; i++)
        file.cuts[i] = (size_t)input_number(&input, 2);
    file.bytes = input.at;
    file.size = input_left(&input);
    for (unsigned i = 0; i < CUTS; i++)
        file.cuts[i] %= file.size + 1;
    qsort(file.cuts, CUTS, sizeof *file.cuts, smaller);
    file.cuts[CUTS] = file.size;
    whole = file;
    whole.cuts[0] = file.size;
    struct verdict once = read_in_pieces(&whole, 1), cut = read_in_pieces(&file, CUTS + 1);
    MUST(once.answer == cut.answer && once.position == cut.position);
    int is_done = once.answer == KR_RDB_DONE;
    MUST(!is_done || (once.taken == cut.taken && once.taken == once.position));
    if (is_done || !file.part_bytes) /* the first part of a value that is not whole depends on the cuts */
        MUST(once.keys == cut.keys && once.key_digest == cut.key_digest);
    if (!file.part_bytes) /* and so do all parts */
        MUST(once.entries == cut.entries && once.digest == cut.digest);
    return 0;
}
