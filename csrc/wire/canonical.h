/* Reads and compares RESP in its canonical form, in whole words. Everything but the common case is left to the
 * byte-by-byte reading in scan.c: nothing here decides that bytes are wrong.
 * Each function may read up to 32 bytes: the caller makes sure that there are so many. */
#ifndef KR_CANONICAL_H
#define KR_CANONICAL_H

#include <stdint.h>
#include <string.h>

static inline uint64_t kr_load64(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

#define KR_HEAD_DIGITS 5u /* where the digits of the offset begin */

/* The text before a kevy frame's number of arguments, `*2 :<offset> *`, for the next offset. */
struct kr_head {
    uint64_t words[4], masks[4];
    uint64_t length, offset;
    unsigned units; /* the place of the last digit */
};

static inline void kr_head_make(struct kr_head *head, uint64_t offset)
{
    char text[32] = "*2\r\n:", digits[20], mask[32];
    unsigned count = 0, at = KR_HEAD_DIGITS;
    head->offset = offset;
    do
        digits[count++] = (char)('0' + offset % 10);
    while (offset /= 10);
    while (count)
        text[at++] = digits[--count];
    head->units = at - 1;
    memcpy(text + at, "\r\n*", 3);
    head->length = at + 3;
    memset(mask, 0, sizeof mask);
    memset(mask, 0xff, head->length);
    memcpy(head->words, text, sizeof text);
    memcpy(head->masks, mask, sizeof mask);
}

/* Makes it the text of `offset`, which is the present one plus 1: adds 1 to the last digit, and carries. */
static inline void kr_head_follow(struct kr_head *head, uint64_t offset)
{
    head->offset = offset;
    for (unsigned at = head->units; at >= KR_HEAD_DIGITS; at--) {
        uint64_t *word = &head->words[at / 8];
        unsigned shift = at % 8 * 8;
        *word += (uint64_t)1 << shift;
        if ((*word >> shift & 0xff) <= '9')
            return;
        *word -= (uint64_t)10 << shift;
    }
    kr_head_make(head, offset); /* the number has one more digit */
}

static inline int kr_head_is_at(const struct kr_head *head, const char *at)
{
    uint64_t differing = 0;
    for (int i = 0; i < 4; i++)
        differing |= (kr_load64(at + 8 * i) ^ head->words[i]) & head->masks[i];
    return !differing;
}

#define KR_SHORT_MAX 999u /* the largest length that kr_bulk_head() reads */
#define KR_CRLF ((uint64_t)('\r' | '\n' << 8))

/* Reads `$`, a length of one to three digits, CRLF. Returns the bytes read, or 0 for anything else. */
static inline unsigned kr_bulk_head(const char *at, uint64_t *length)
{
    uint64_t word = kr_load64(at);
    if ((word & 0x000000ffff0000ff) == ('$' | KR_CRLF << 24)) {
        /* If a byte is no digit, the high bit is set here or in the sum; also if the subtraction borrowed. */
        uint32_t digits = (uint32_t)(word >> 8 & 0xffff) - 0x3030u;
        *length = (uint64_t)(digits & 0xff) * 10 + (digits >> 8);
        return ((digits + 0x7676u) | digits) & 0xffff8080u || !(digits & 0xff) ? 0 : 5;
    }
    if ((word & 0x00000000ffff00ff) == ('$' | KR_CRLF << 16)) {
        *length = (word >> 8 & 0xff) - '0';
        return *length < 10 ? 4 : 0;
    }
    uint64_t first = (word >> 8 & 0xff) - '0', second = (word >> 16 & 0xff) - '0', third = (word >> 24 & 0xff) - '0';
    *length = first * 100 + second * 10 + third;
    return (word & 0x0000ffff000000ff) == ('$' | KR_CRLF << 32) && first - 1 < 9 && second < 10 && third < 10 ? 6 : 0;
}

/* Reads one digit from 1 to 9 and CRLF, three bytes. Returns the digit, or 0. */
static inline uint64_t kr_one_digit(const char *at)
{
    uint64_t word = kr_load64(at), digit = (word & 0xff) - '0';
    return (word >> 8 & 0xffff) == KR_CRLF && digit < 10 ? digit : 0;
}

static inline int kr_crlf_is_at(const char *at)
{
    uint16_t word;
    memcpy(&word, at, sizeof word);
    return word == KR_CRLF;
}

#endif
