/* Copies of a few bytes without a call. Most records and arguments are so short that a call of memcpy costs more. */
#ifndef KR_SHORT_COPY_H
#define KR_SHORT_COPY_H

#include <stdint.h>
#include <string.h>

#define KR_COPY_INLINE_MAX 128u

/* 16 bytes at a time, the last ones overlapping: exactly `length` bytes are read and written. */
static inline void kr_copy(char *to, const char *from, uint64_t length)
{
    if (length > KR_COPY_INLINE_MAX) {
        memcpy(to, from, length);
    } else if (length >= 16) {
        char last[16];
        memcpy(last, from + length - 16, 16);
        for (uint64_t i = 0; i + 16 < length; i += 16)
            memcpy(to + i, from + i, 16);
        memcpy(to + length - 16, last, 16);
    } else if (length >= 8) {
        uint64_t first, last;
        memcpy(&first, from, 8);
        memcpy(&last, from + length - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + length - 8, &last, 8);
    } else if (length >= 4) {
        uint32_t first, last;
        memcpy(&first, from, 4);
        memcpy(&last, from + length - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + length - 4, &last, 4);
    } else if (length) {
        to[0] = from[0];
        to[length / 2] = from[length / 2];
        to[length - 1] = from[length - 1];
    }
}

#define KR_COPY_OVER 16u /* bytes behind the end, in both places, that kr_copy_over() may touch */

static inline void kr_copy_over(char *to, const char *from, uint64_t length)
{
    if (length > KR_COPY_INLINE_MAX) {
        memcpy(to, from, length);
        return;
    }
    for (uint64_t i = 0; i < length; i += 16)
        memcpy(to + i, from + i, 16);
}

#define KR_AHEAD_BYTES 1024u  /* how far ahead of the writes lines are prefetched */
#define KR_EXPECTED_MAX 4096u /* in the copy of a larger record the processor looks ahead by itself */

/* Prefetches lines that will be written soon, from the consumer's core, which had them last. A hint; it never faults. */
static inline void kr_expect_writes(char *at, uint64_t bytes)
{
    for (uint64_t line = 0; line < bytes; line += 64) {
#if defined(__x86_64__)
        __asm__ volatile("prefetchw %0" : : "m"(at[line]));
#else
        __builtin_prefetch(at + line, 1);
#endif
    }
}

#endif
