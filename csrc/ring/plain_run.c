/* The fast pass of a drain: a run of whole, plain records becomes columns. It stops in front of whatever is a
 * fragment, a fault, or beyond the limit, and leaves the verdict to kr_consumer_drain(). */
#include <string.h>

#include "ring/ring.h"

#define AHEAD_BYTES 768u /* of the other core's lines are asked for before their turn: where a header stands is known only
                          * when the one before it has arrived, so the core itself cannot look ahead */
#define LINE_BYTES 64u
#define SAME_ENOUGH 3u /* records alike in a row before more of them are expected: a wrong guess costs a mispredicted branch */

static inline uint64_t read_word(const char *at) { return *(const volatile uint64_t *)(const void *)at; }
static inline uint32_t read_half(const char *at) { return *(const volatile uint32_t *)(const void *)at; }

/* The bytes of a frame's payload in front of its arguments; 0 when they are not what they must be. */
static inline uint64_t frame_head(const char *payload, uint64_t length, uint32_t *argc)
{
    uint32_t args = read_half(payload);
    uint64_t head = 4 + 4 * (uint64_t)args;
    if (args == 0 || head > length || read_half(payload + head - 4) != length - head)
        return 0;
    *argc = args;
    return head;
}

static inline uint64_t prefetch(const char *records, uint64_t ahead, uint64_t at, uint64_t bytes)
{
    ahead = ahead < at ? at : ahead;
    while (ahead < at + AHEAD_BYTES && ahead < bytes) {
        __builtin_prefetch(records + ahead);
        ahead += LINE_BYTES;
    }
    return ahead;
}

/* Records whose first word is that of the one before them: the place of the next is known without waiting for this one,
 * so several are on their way from the other core at once. */
static inline uint64_t same_again(const char *records, uint64_t at, uint64_t end, uint64_t most, uint64_t first, struct kr_columns to, uint64_t count)
{
    uint64_t length = (uint32_t)first, own = kr_record_span(length), start = count, from = at;
    uint32_t argc = 0;
    for (; count < most && own <= end - at; at += own) {
        const char *record = records + at;
        if (read_word(record) != first)
            break;
        if (first >> 32 == KR_KIND_FRAME) {
            if (!frame_head(record + KR_RECORD_BYTES, length, &argc))
                break;
            to.argcs[count] = argc;
        }
        to.offsets[count++] = read_word(record + 8);
    }
    for (uint64_t i = start; i < count; i++)
        to.starts[i] = from + (i - start) * own + KR_RECORD_BYTES;
    for (uint64_t i = start; i < count; i++)
        to.lengths[i] = (uint32_t)length;
    memset(to.kinds + start, (int)(first >> 32), count - start);
    if (first >> 32 != KR_KIND_FRAME)
        memset(to.argcs + start, 0, (count - start) * sizeof *to.argcs);
    return count;
}

/* `bytes` of records at `records` are published; at most `most` records and `limit` bytes of them are taken. Returns
 * how many were. */
uint64_t kr_take_plain(const char *records, uint64_t bytes, uint64_t limit, uint64_t most, struct kr_columns to, uint64_t *span, uint32_t *frames)
{
    uint64_t at = 0, count = 0, ahead = 0, end = limit < bytes ? limit : bytes, before = 0;
    uint32_t found = 0, same = 0;
    while (count < most && at + KR_RECORD_BYTES <= end) {
        const char *record = records + at;
        uint64_t first = read_word(record), length = (uint32_t)first, own = kr_record_span(length);
        uint64_t kind = first >> 32; /* and flags and reserved bytes, which a plain record has not */
        uint32_t argc = 0;
        if (kind > KR_KIND_LAST || own > end - at)
            break;
        if (kind == KR_KIND_FRAME && !frame_head(record + KR_RECORD_BYTES, length, &argc))
            break;
        to.offsets[count] = read_word(record + 8);
        to.starts[count] = at + KR_RECORD_BYTES;
        to.lengths[count] = (uint32_t)length;
        to.argcs[count] = argc;
        to.kinds[count] = (uint8_t)kind;
        found += kind == KR_KIND_FRAME;
        at += own;
        count++;
        same = first == before ? same + 1 : 0;
        before = first;
        if (same >= SAME_ENOUGH) {
            uint64_t then = same_again(records, at, end, most, first, to, count);
            found += kind == KR_KIND_FRAME ? (uint32_t)(then - count) : 0;
            at += (then - count) * own;
            count = then;
            same = 0;
        }
        ahead = prefetch(records, ahead, at, bytes);
    }
    *span = at;
    *frames = found;
    return count;
}
