/* The frames of a batch as RESP, as columns of one argument, and as one compact copy. */
#include <string.h>

#include "inbox/decode.h"
#include "ring/ring.h"

static unsigned digits(uint64_t number)
{
    unsigned count = 1;
    while (number >= 10) {
        number /= 10;
        count++;
    }
    return count;
}

static char *put(char *to, char mark, uint64_t number)
{
    unsigned count = digits(number);
    *to++ = mark;
    for (unsigned i = count; i > 0; i--, number /= 10)
        to[i - 1] = (char)('0' + number % 10);
    to += count;
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

/* The frames of a batch as RESP commands, back to back, in `out`; with out NULL, how many bytes that takes. Other
 * events are left out. Fails with minus one minus the number of the event whose end positions are wrong, or that does not
 * fit because its record changed after its size was taken. */
int64_t kr_batch_resp(const char *batch, char *columns, uint64_t records, uint64_t count, char *out, uint64_t room)
{
    struct kr_columns from = kr_split_columns(columns, records);
    uint64_t size = 0;
    char *to = out;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t argc = from.argcs[i], length;
        struct kr_frame_reader frame;
        const char *argument;
        if (from.kinds[i] != KR_KIND_FRAME)
            continue;
        if (!kr_frame_read(&frame, batch + from.starts[i], from.lengths[i], argc))
            return -1 - (int64_t)i;
        size += 3 + digits(argc);
        if (out && size > room)
            return -1 - (int64_t)i;
        if (out)
            to = put(to, '*', argc);
        for (uint32_t a = 0; a < argc; a++) {
            if (!kr_frame_next(&frame, &argument, &length))
                return -1 - (int64_t)i;
            size += 5 + digits(length) + (uint64_t)length;
            if (out && size > room)
                return -1 - (int64_t)i;
            if (!out)
                continue;
            to = put(to, '$', length);
            memcpy(to, argument, length);
            to += length;
            *to++ = '\r';
            *to++ = '\n';
        }
    }
    return (int64_t)size;
}

/* Where argument `k` of each frame starts, from `batch` on, and its length. A negative `k` counts from the last argument. Both are
 * 0 for an event that has no such argument. Returns 0, or minus one minus the number of the event whose end positions are wrong. */
int64_t kr_batch_argument(const char *batch, char *columns, uint64_t records, uint64_t count, int64_t k, uint64_t *starts,
                          uint32_t *lengths)
{
    struct kr_columns from = kr_split_columns(columns, records);
    for (uint64_t i = 0; i < count; i++) {
        int64_t argc = from.argcs[i], at = k < 0 ? k + argc : k;
        struct kr_frame_reader frame;
        const char *argument;
        starts[i] = lengths[i] = 0;
        if (from.kinds[i] != KR_KIND_FRAME || at < 0 || at >= argc)
            continue;
        if (!kr_frame_read(&frame, batch + from.starts[i], from.lengths[i], from.argcs[i]) ||
            !kr_frame_at(&frame, (uint32_t)at, &argument, lengths + i))
            return -1 - (int64_t)i;
        starts[i] = (uint64_t)(argument - batch);
    }
    return 0;
}

/* Copies the bytes of a batch back to back: each argument of a frame, and the bytes of a chunk, are one item. `ends` gets the end of
 * each item in `out`, which has room for all payloads. Returns the bytes copied, or fails as kr_batch_argument(). */
int64_t kr_batch_pack(const char *batch, char *columns, uint64_t records, uint64_t count, char *out, uint64_t *ends)
{
    struct kr_columns from = kr_split_columns(columns, records);
    char *to = out;
    for (uint64_t i = 0; i < count; i++) {
        const char *payload = batch + from.starts[i], *argument;
        struct kr_frame_reader frame;
        uint32_t length = from.lengths[i];
        if (from.kinds[i] == KR_KIND_SNAPSHOT_CHUNK) {
            memcpy(to, payload, length);
            to += length;
            *ends++ = (uint64_t)(to - out);
        }
        if (from.kinds[i] != KR_KIND_FRAME)
            continue;
        if (!kr_frame_read(&frame, payload, length, from.argcs[i]))
            return -1 - (int64_t)i;
        for (uint32_t a = 0; a < from.argcs[i]; a++) {
            if (!kr_frame_next(&frame, &argument, &length))
                return -1 - (int64_t)i;
            memcpy(to, argument, length);
            to += length;
            *ends++ = (uint64_t)(to - out);
        }
    }
    return to - out;
}
