/* The reader of RDBs: records in pieces of any size, values in parts, and bytes that lie. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "kevy_ring.h"
#include "rdb/reader.h"

struct file {
    char *bytes;
    uint64_t size, room;
};

static void put(struct file *file, const void *bytes, uint64_t length)
{
    while (file->size + length > file->room) {
        file->room = 2 * file->room + 1024;
        file->bytes = realloc(file->bytes, file->room);
        CHECK(file->bytes);
    }
    memcpy(file->bytes + file->size, bytes, length);
    file->size += length;
}

static void put_byte(struct file *file, unsigned byte) { put(file, &(unsigned char){(unsigned char)byte}, 1); }

static void put_length(struct file *file, uint64_t length)
{
    put_byte(file, 0x80);
    for (int shift = 24; shift >= 0; shift -= 8)
        put_byte(file, length >> shift & 255);
}

static void put_string(struct file *file, const char *text, uint64_t length)
{
    put_length(file, length);
    put(file, text, length);
}

static void begin(struct file *file)
{
    file->size = 0;
    put(file, "REDIS0011", 9);
}

static void end(struct file *file)
{
    put_byte(file, 255);
    uint64_t crc = kr_crc64(0, file->bytes, file->size);
    for (int i = 0; i < 8; i++)
        put_byte(file, crc >> 8 * i & 255);
}

/* What was read: how many keys and elements, and a checksum over keys, types and values. */
struct found {
    uint64_t keys, parts, elements, sum, largest, taken;
    int answer;
};

static void note(struct found *found, const kr_rdb_batch *batch)
{
    for (uint64_t i = 0; i < batch->count; i++) {
        const kr_rdb_entry *entry = batch->entries + i;
        int is_new = entry->part < 2;
        found->keys += is_new;
        found->parts += entry->part != 0;
        found->elements += entry->elements;
        found->largest = entry->value_bytes > found->largest ? entry->value_bytes : found->largest;
        if (is_new)
            found->sum = kr_crc64(found->sum, batch->keys + entry->key_at, entry->key_bytes);
        found->sum = kr_crc64(found->sum, batch->block + entry->value_at, entry->value_bytes);
    }
}

/* Reads a file in pieces of at most `piece` bytes, of random sizes if there is a seed. */
static struct found read_file(const struct file *file, uint64_t piece, uint64_t part_bytes, uint64_t *seed)
{
    struct found found = {0};
    kr_rdb *reader = kr_rdb_new(part_bytes);
    kr_rdb_batch batch;
    uint64_t at = 0, taken;
    CHECK(reader);
    do {
        uint64_t length = seed ? 1 + check_below(seed, piece) : piece;
        char *copy = malloc(length ? length : 1); /* of exactly this size, for sanitizers */
        length = length < file->size - at ? length : file->size - at;
        memcpy(copy, file->bytes + at, length);
        found.answer = kr_rdb_feed(reader, copy, length, &taken);
        free(copy);
        CHECK(taken <= length);
        at += taken;
        found.taken = at;
        if (found.answer > 0) {
            kr_rdb_entries(reader, &batch);
            note(&found, &batch);
        }
    } while (found.answer == KR_RDB_BATCH || (found.answer == KR_RDB_MORE && at < file->size));
    kr_rdb_free(reader);
    return found;
}

static void many_keys(struct file *file, uint64_t count)
{
    char value[200];
    memset(value, 'v', sizeof value);
    begin(file);
    put(file, "\xfe\x03", 2);
    for (uint64_t i = 0; i < count; i++) {
        if (i % 3 == 0)
            put(file, "\xfc\1\2\3\4\5\6\7\0", 9);
        put_byte(file, 0);
        put_string(file, (const char *)&i, sizeof i);
        put_string(file, value, i % sizeof value);
    }
    end(file);
}

static void every_cut_gives_the_same(void)
{
    struct file file = {0};
    uint64_t seed = 7;
    many_keys(&file, 40000);
    struct found whole = read_file(&file, file.size, 0, NULL);
    CHECK_EQ(whole.answer, KR_RDB_DONE);
    CHECK_EQ(whole.keys, 40000);
    for (uint64_t piece = 100; piece < 3000000; piece *= 7) {
        struct found found = read_file(&file, piece, 0, &seed);
        CHECK_EQ(found.answer, KR_RDB_DONE);
        CHECK_EQ(found.keys, 40000);
        CHECK_EQ(found.sum, whole.sum);
    }
    free(file.bytes);
}

static void a_large_value_comes_in_parts_between_its_elements(void)
{
    struct file file = {0};
    uint64_t seed = 3;
    char element[100];
    memset(element, 'e', sizeof element);
    begin(&file);
    put_byte(&file, 1);
    put_string(&file, "list", 4);
    put_length(&file, 100000);
    for (int i = 0; i < 100000; i++)
        put_string(&file, element, (uint64_t)(i % 100));
    put_byte(&file, 0);
    put_string(&file, "after", 5);
    put_string(&file, "1", 1);
    end(&file);
    struct found found = read_file(&file, 65536, 100000, &seed);
    CHECK_EQ(found.answer, KR_RDB_DONE);
    CHECK_EQ(found.keys, 2);
    CHECK(found.parts > 10);
    CHECK_EQ(found.elements, 100000 + 1);
    CHECK(found.largest < 500000);
    struct found whole = read_file(&file, 65536, 0, NULL);
    CHECK_EQ(whole.parts, 0);
    CHECK(whole.largest > 5000000);
    free(file.bytes);
}

static void a_large_string_comes_in_parts(void)
{
    struct file file = {0};
    char *value = calloc(1, 3000000);
    begin(&file);
    put_byte(&file, 0);
    put_string(&file, "text", 4);
    put_string(&file, value, 3000000);
    end(&file);
    struct found found = read_file(&file, 10000, 100000, NULL);
    CHECK_EQ(found.answer, KR_RDB_DONE);
    CHECK_EQ(found.keys, 1);
    CHECK_EQ(found.elements, 3000000);
    CHECK(found.largest < 300000);
    free(value);
    free(file.bytes);
}

static void a_length_that_lies_asks_for_no_memory(void)
{
    static const char *const lies[] = {"\x00\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff", "\x00\x81\x00\x00\x00\x00\x7f\xff\xff\xff",
                                       "\x00\xc3\x01\x80\x7f\xff\xff\xff", "\x01\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff"};
    static const uint64_t sizes[] = {12, 10, 8, 12};
    for (int i = 0; i < 4; i++) {
        struct file file = {0};
        begin(&file);
        put(&file, lies[i], sizes[i]);
        struct found found = read_file(&file, 1, 0, NULL);
        CHECK(found.answer <= 0);
        CHECK_EQ(found.keys, 0);
        free(file.bytes);
    }
}

static void bytes_behind_the_end_are_not_taken(void)
{
    struct file file = {0};
    many_keys(&file, 12000); /* the last batch and the end are within one slice */
    uint64_t size = file.size;
    put(&file, "something else", 14);
    struct found found = read_file(&file, file.size, 0, NULL);
    CHECK_EQ(found.answer, KR_RDB_DONE);
    CHECK_EQ(found.keys, 12000);
    CHECK_EQ(found.taken, size);
    free(file.bytes);
}

static void records_that_make_no_entry_take_no_memory(void)
{
    char *bytes = malloc(1u << 20);
    kr_rdb *reader = kr_rdb_new(0);
    uint64_t taken;
    for (uint32_t i = 0; i < 1u << 20; i++)
        bytes[i] = i % 2 ? 1 : (char)0xfe;
    CHECK_EQ(kr_rdb_feed(reader, "REDIS0011", 9, &taken), KR_RDB_MORE);
    for (int i = 0; i < 16; i++)
        for (uint64_t at = 0; at < 1u << 20; at += taken)
            CHECK(kr_rdb_feed(reader, bytes + at, (1u << 20) - at, &taken) >= 0);
    CHECK(reader->room <= 4u << 20);
    kr_rdb_free(reader);
    free(bytes);
}

static void changed_bytes_are_refused_or_read_and_never_beyond_the_end(void)
{
    struct file file = {0};
    uint64_t seed = 11;
    many_keys(&file, 300);
    for (uint64_t round = check_rounds(3000); round; round--) {
        uint64_t at = 9 + check_below(&seed, file.size - 9);
        char before = file.bytes[at];
        file.bytes[at] = (char)check_random(&seed);
        int is_changed = file.bytes[at] != before;
        struct found found = read_file(&file, 5000, 1000, &seed);
        CHECK(found.answer != KR_RDB_DONE || !is_changed);
        file.bytes[at] = before;
    }
    free(file.bytes);
}

static const struct check_case cases[] = {
    CASE(every_cut_gives_the_same),
    CASE(a_large_value_comes_in_parts_between_its_elements),
    CASE(a_large_string_comes_in_parts),
    CASE(a_length_that_lies_asks_for_no_memory),
    CASE(bytes_behind_the_end_are_not_taken),
    CASE(records_that_make_no_entry_take_no_memory),
    CASE(changed_bytes_are_refused_or_read_and_never_beyond_the_end),
};
CHECK_MAIN(cases)
