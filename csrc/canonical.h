/* RESP in its canonical form, compared and read in whole words. Whatever does not look like the common case is left to
 * the byte-by-byte reading in scan.c: nothing here decides that something is wrong. All loads stay within KR_SLACK bytes. */
#ifndef KR_CANONICAL_H
#define KR_CANONICAL_H

#include <stdint.h>
#include <string.h>

#define KR_SLACK 32 /* readable bytes at the place that is looked at */

static inline uint64_t kr_load64(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* The text in front of a kevy frame's number of arguments, `*2 :<offset> *`, as the next offset makes it. */
struct kr_head {
    uint64_t words[4], masks[4];
    uint64_t length, offset;
    unsigned units_word, units_shift; /* where the last digit stands */
};

static inline void kr_head_make(struct kr_head *head, uint64_t offset)
{
    char text[32] = "*2\r\n:", digits[20], mask[32];
    unsigned count = 0, at = 5;
    head->offset = offset;
    do
        digits[count++] = (char)('0' + offset % 10);
    while (offset /= 10);
    while (count)
        text[at++] = digits[--count];
    head->units_word = (at - 1) / 8;
    head->units_shift = (at - 1) % 8 * 8;
    memcpy(text + at, "\r\n*", 3);
    head->length = at + 3;
    memset(mask, 0, sizeof mask);
    memset(mask, 0xff, head->length);
    memcpy(head->words, text, sizeof text);
    memcpy(head->masks, mask, sizeof mask);
}

/* To the text of `offset`, which follows on the present one. */
static inline void kr_head_follow(struct kr_head *head, uint64_t offset)
{
    head->offset = offset;
    head->words[head->units_word] += (uint64_t)1 << head->units_shift;
    if ((head->words[head->units_word] >> head->units_shift & 0xff) > '9')
        kr_head_make(head, offset);
}

static inline int kr_head_stands(const struct kr_head *head, const char *at)
{
    uint64_t differing = 0;
    for (int i = 0; i < 4; i++)
        differing |= (kr_load64(at + 8 * i) ^ head->words[i]) & head->masks[i];
    return !differing;
}

#define KR_SHORT_NUMBER_MAX 999

/* A number of one to three digits and CRLF: bytes read, or 0 when it is not such a number. */
static inline unsigned kr_short_number(const char *at, uint64_t *out)
{
    uint64_t word = kr_load64(at);
    uint64_t first = (word & 0xff) - '0', second = (word >> 8 & 0xff) - '0', third = (word >> 16 & 0xff) - '0';
    const uint64_t crlf = '\r' | '\n' << 8;
    if ((word >> 16 & 0xffff) == crlf && first - 1 < 9 && second < 10) {
        *out = first * 10 + second;
        return 4;
    }
    if ((word >> 8 & 0xffff) == crlf && first < 10) {
        *out = first;
        return 3;
    }
    if ((word >> 24 & 0xffff) == crlf && first - 1 < 9 && second < 10 && third < 10) {
        *out = first * 100 + second * 10 + third;
        return 5;
    }
    return 0;
}

#endif
