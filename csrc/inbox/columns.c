/* The columns of a batch, and what one pass over them makes: the spans of all arguments, or the frames as RESP.
 *
 * The end positions are read here for the first time since the drain checked the record, and they are still another
 * process's claim: each is read once, and bounded by the length that the columns remember. */
#include <string.h>

#include "ring/ring.h"


/* The end of argument `number` of a frame, relative to its first argument byte. */
static uint32_t end_of(const char *payload, uint32_t number)
{
    return *(const volatile uint32_t *)(const void *)(payload + 4 + 4 * (uint64_t)number);
}

/* Whether a payload is as long as its end positions alone. A drain has seen to it, but not for an event that came in
 * fragments: its number of arguments is still what the producer says. */
static int holds_ends(const struct kr_columns *from, uint64_t i)
{
    return from->argcs[i] == 0 || 4 + 4 * (uint64_t)from->argcs[i] <= from->lengths[i];
}

/* Start and end of every argument of every frame, from the first record header of the batch. Returns how many, or
 * minus one minus the number of the event whose end positions do not rise within its payload. */
int64_t kr_batch_arguments(const char *batch, char *columns, uint64_t records, uint64_t count, uint64_t *starts, uint64_t *ends, uint64_t room)
{
    struct kr_columns from = kr_split_columns(columns, records);
    uint64_t done = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t argc = from.argcs[i], last = 0;
        uint64_t first = from.starts[i] + 4 + 4 * (uint64_t)argc;
        if (argc > room - done || !holds_ends(&from, i))
            return -1 - (int64_t)i;
        for (uint32_t a = 0; a < argc; a++) {
            uint32_t end = end_of(batch + from.starts[i], a);
            if (end < last || first + end > from.starts[i] + from.lengths[i])
                return -1 - (int64_t)i;
            starts[done] = first + last;
            ends[done++] = first + end;
            last = end;
        }
    }
    return (int64_t)done;
}

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
 * events are passed over. Fails as kr_batch_arguments(). */
int64_t kr_batch_resp(const char *batch, char *columns, uint64_t records, uint64_t count, char *out, uint64_t room)
{
    struct kr_columns from = kr_split_columns(columns, records);
    uint64_t size = 0;
    char *to = out;
    for (uint64_t i = 0; i < count; i++) {
        const char *payload = batch + from.starts[i];
        uint32_t argc = from.argcs[i], last = 0;
        const char *bytes = payload + 4 + 4 * (uint64_t)argc;
        uint64_t total = from.lengths[i] - 4 - 4 * (uint64_t)argc;
        if (from.kinds[i] != KR_KIND_FRAME)
            continue;
        if (!holds_ends(&from, i))
            return -1 - (int64_t)i;
        size += 3 + digits(argc);
        if (out && size > room)
            return -1 - (int64_t)i;
        if (out)
            to = put(to, '*', argc);
        for (uint32_t a = 0; a < argc; a++) {
            uint32_t end = end_of(payload, a), length = end - last;
            if (end < last || end > total)
                return -1 - (int64_t)i;
            size += 5 + digits(length) + length;
            if (out && size > room) /* the record was changed since its size was taken */
                return -1 - (int64_t)i;
            if (out) {
                to = put(to, '$', length);
                memcpy(to, bytes + last, length);
                to += length;
                *to++ = '\r';
                *to++ = '\n';
            }
            last = end;
        }
    }
    return (int64_t)size;
}
