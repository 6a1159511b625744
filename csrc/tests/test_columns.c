/* The columns that one pass over a batch makes, also of records with wrong lengths. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "inbox/decode.h"
#include "scratch_inbox.h"
#include "send_joined.h"

/* One event in its own memory, as the layers above assemble it from fragments. */
struct lone {
    char columns[25 + 7] __attribute__((aligned(16)));
    char *record; /* of exactly its length, so that a sanitizer sees a read beyond it */
};

static void make_lone(struct lone *lone, uint32_t length, uint32_t argc, const uint32_t *ends, uint32_t count)
{
    uint64_t span = kr_record_span(length);
    struct kr_columns columns = kr_split_columns(lone->columns, 1);
    columns.offsets[0] = 1;
    columns.starts[0] = KR_RECORD_BYTES;
    columns.lengths[0] = length;
    columns.argcs[0] = argc;
    columns.kinds[0] = 4;
    lone->record = malloc(span);
    CHECK(lone->record);
    memset(lone->record, 'a', span);
    memcpy(lone->record + KR_RECORD_BYTES, &argc, length < 4 ? length : 4);
    for (uint32_t i = 0; i < count && 4 + 4 * i + 4 <= length; i++)
        memcpy(lone->record + KR_RECORD_BYTES + 4 + 4 * i, &ends[i], 4);
}

/* Start and end of each argument of each frame, from the first record header on. Returns how many, or minus one minus the
 * number of the event whose end positions are wrong. */
static int64_t batch_arguments(const char *batch, char *columns, uint64_t records, uint64_t count, uint64_t *starts, uint64_t *ends)
{
    struct kr_columns from = kr_split_columns(columns, records);
    int64_t done = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct kr_frame_reader frame;
        const char *argument;
        uint32_t length;
        if (from.argcs[i] && !kr_frame_read(&frame, batch + from.starts[i], from.lengths[i], from.argcs[i]))
            return -1 - (int64_t)i;
        for (uint32_t a = 0; a < from.argcs[i]; a++) {
            if (!kr_frame_next(&frame, &argument, &length))
                return -1 - (int64_t)i;
            starts[done] = (uint64_t)(argument - batch);
            ends[done++] = (uint64_t)(argument - batch) + length;
        }
    }
    return done;
}

static void arguments_and_commands_of_a_batch(void)
{
    struct scratch_ring ring;
    const uint32_t lengths[] = {3, 1, 0, 12};
    uint64_t starts[16], ends[16];
    char out[256];
    scratch_open_sender(&ring, 4096);
    CHECK_EQ(send_frame(ring.sender, 1, "SETk", lengths, 3), 0);
    CHECK_EQ(send_plain(ring.sender, 2, 0, "chunk", 5), 0);
    CHECK_EQ(send_frame(ring.sender, 2, "twelve bytes", lengths + 3, 1), 0);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 3);
    const char *batch = ring.area + ring.batch.index;
    CHECK_EQ(batch_arguments(batch, ring.columns, ring.rows, 3, starts, ends), 4);
    CHECK_EQ(ends[0] - starts[0], 3);
    CHECK(!memcmp(batch + starts[0], "SET", 3));
    CHECK(!memcmp(batch + starts[1], "k", 1));
    CHECK_EQ(ends[2] - starts[2], 0);
    CHECK(!memcmp(batch + starts[3], "twelve bytes", 12));
    const char *commands = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n$12\r\ntwelve bytes\r\n";
    int64_t size = kr_batch_resp(batch, ring.columns, ring.rows, 3, NULL, 0);
    CHECK_EQ(size, strlen(commands));
    CHECK_EQ(kr_batch_resp(batch, ring.columns, ring.rows, 3, out, (uint64_t)size), size);
    CHECK(!memcmp(out, commands, (size_t)size));
    for (int64_t room = 0; room < size; room++)
        CHECK(kr_batch_resp(batch, ring.columns, ring.rows, 3, out, (uint64_t)room) < 0);
    scratch_close(&ring);
}

static void one_argument_and_one_copy_of_a_batch(void)
{
    struct scratch_ring ring;
    const uint32_t lengths[] = {3, 1, 0, 12};
    uint64_t starts[3], ends[5];
    uint32_t found[3];
    char out[64];
    scratch_open_sender(&ring, 4096);
    CHECK_EQ(send_frame(ring.sender, 1, "SETk", lengths, 3), 0);
    CHECK_EQ(send_plain(ring.sender, 2, 0, "chunk", 5), 0);
    CHECK_EQ(send_frame(ring.sender, 2, "twelve bytes", lengths + 3, 1), 0);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 3);
    const char *batch = ring.area + ring.batch.index;
    CHECK_EQ(kr_batch_argument(batch, ring.columns, ring.rows, 3, 1, starts, found), 0);
    CHECK_EQ(found[0], 1);
    CHECK_EQ(batch[starts[0]], 'k');
    CHECK_EQ(starts[1] + found[1] + starts[2] + found[2], 0);
    CHECK_EQ(kr_batch_argument(batch, ring.columns, ring.rows, 3, -1, starts, found), 0);
    CHECK_EQ(found[0], 0);
    CHECK_EQ(found[2], 12);
    CHECK_EQ(kr_batch_pack(batch, ring.columns, ring.rows, 3, out, ends), 21);
    CHECK(!memcmp(out, "SETkchunktwelve bytes", 21));
    CHECK_EQ(ends[0], 3);
    CHECK_EQ(ends[2], 4);
    CHECK_EQ(ends[3], 9);
    CHECK_EQ(ends[4], 21);
    scratch_close(&ring);
}

static void a_number_of_arguments_that_lies_is_refused(void)
{
    const uint32_t bad[][2] = {{4, 1}, {7, 1}, {8, 2}, {20, 5}, {20, 100}, {20, 0x3fffffff}, {20, UINT32_MAX}, {0, 1}, {3, 1}};
    const uint32_t zeros[8] = {0};
    uint64_t starts[128], ends[128];
    uint32_t found;
    char out[4096];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct lone lone;
        make_lone(&lone, bad[i][0], bad[i][1], zeros, 8);
        CHECK_EQ(batch_arguments(lone.record, lone.columns, 1, 1, starts, ends), -1);
        CHECK_EQ(kr_batch_resp(lone.record, lone.columns, 1, 1, NULL, 0), -1);
        CHECK_EQ(kr_batch_resp(lone.record, lone.columns, 1, 1, out, sizeof out), -1);
        CHECK_EQ(kr_batch_argument(lone.record, lone.columns, 1, 1, 0, starts, &found), -1);
        CHECK_EQ(kr_batch_pack(lone.record, lone.columns, 1, 1, out, ends), -1);
        free(lone.record);
    }
}

static void ends_that_do_not_rise_within_the_payload_are_refused(void)
{
    const uint32_t bad[][2] = {{5, 4}, {0, 9}, {UINT32_MAX, 8}, {9, 8}};
    uint64_t starts[8], ends[8];
    uint32_t found;
    char out[256];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct lone lone;
        make_lone(&lone, 12 + 8, 2, bad[i], 2);
        CHECK_EQ(batch_arguments(lone.record, lone.columns, 1, 1, starts, ends), -1);
        CHECK_EQ(kr_batch_resp(lone.record, lone.columns, 1, 1, NULL, 0), -1);
        CHECK_EQ(kr_batch_resp(lone.record, lone.columns, 1, 1, out, sizeof out), -1);
        CHECK_EQ(kr_batch_argument(lone.record, lone.columns, 1, 1, 1, starts, &found), -1);
        CHECK_EQ(kr_batch_pack(lone.record, lone.columns, 1, 1, out, ends), -1);
        free(lone.record);
    }
}

static const struct check_case cases[] = {
    CASE(arguments_and_commands_of_a_batch),
    CASE(one_argument_and_one_copy_of_a_batch),
    CASE(a_number_of_arguments_that_lies_is_refused),
    CASE(ends_that_do_not_rise_within_the_payload_are_refused),
};
CHECK_MAIN(cases)
