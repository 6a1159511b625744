/* The fast pass of a drain: it makes columns of a run of whole, plain records. It stops before a fragment, a wrong record or
 * the limit, and kr_consumer_drain() decides which one it is. */
#include <string.h>

#include "ring/ring.h"

#define AHEAD_BYTES 768u /* prefetched of the other core's lines. The place of a header is known only after the one before
                          * it has arrived, so the processor cannot look ahead by itself */
#define LINE_BYTES 64u
#define SAME_ENOUGH 3u /* equal records in a row before it expects more of them: a wrong guess costs a mispredicted branch */

static inline uint64_t read_word(const char *at) { return *(const volatile uint64_t *)(const void *)at; }
static inline uint32_t read_half(const char *at) { return *(const volatile uint32_t *)(const void *)at; }

/* The bytes of a frame's payload before its arguments; 0 if they are wrong. */
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

/* Records with the same first word as the one before them. The place of the next record is known before this one has
 * arrived, so the processor fetches several from the other core at once. */
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

/* Takes at most `most` records and `limit` bytes of the `bytes` published ones at `records`. Returns how many it took. */
uint64_t kr_take_plain(const char *records, uint64_t bytes, uint64_t limit, uint64_t most, struct kr_columns to, uint64_t *span, uint32_t *frames)
{
    uint64_t at = 0, count = 0, ahead = 0, end = limit < bytes ? limit : bytes, before = 0;
    uint32_t found = 0, same = 0;
    while (count < most && at + KR_RECORD_BYTES <= end) {
        const char *record = records + at;
        uint64_t first = read_word(record), length = (uint32_t)first, own = kr_record_span(length);
        uint64_t kind = first >> 32; /* and flags and reserved bytes, which are 0 in a plain record */
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
