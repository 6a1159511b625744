/* The frames of a batch as RESP. */
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
