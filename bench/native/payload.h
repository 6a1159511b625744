/* What the records of the `core` case hold, and what a consumer does with each one. Every contender reads through
 * payload_seen(), so that all do the same work. */
#ifndef BENCH_PAYLOAD_H
#define BENCH_PAYLOAD_H

#include <stdint.h>
#include <string.h>

enum payload_look {
    LOOK_VERIFY, /* every byte is compared with what record number `seen` must hold */
    LOOK_READ,   /* every 8-byte word is added up */
    LOOK_TOUCH,  /* the first and the last word are added up: what a consumer pays that passes the bytes on */
};

struct payload_sum {
    enum payload_look look;
    uint64_t size, seen, sum, wrong;
};

static inline uint64_t payload_word(uint64_t record, uint64_t index)
{
    return index ? (record + 1) * 0x9e3779b97f4a7c15u ^ index * 0xbf58476d1ce4e5b9u : record;
}

static inline uint64_t word_at(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t sum_words(const char *at, uint64_t bytes)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < bytes; i += 8)
        sum += word_at(at + i);
    return sum;
}

static inline void payload_fill(char *at, uint64_t size, uint64_t record)
{
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = payload_word(record, i / 8);
        memcpy(at + i, &word, sizeof word);
    }
}

static inline void payload_check(struct payload_sum *to, const char *at, uint64_t size)
{
    for (uint64_t i = 0; i < size; i += 8)
        to->wrong += word_at(at + i) != payload_word(to->seen, i / 8);
}

/* `size` is a constant at every call where the contender knows it when it is compiled. */
static inline void payload_seen(struct payload_sum *to, const char *at, uint64_t size)
{
    if (to->look == LOOK_TOUCH)
        to->sum += word_at(at) + word_at(at + size - 8);
    else if (to->look == LOOK_READ)
        to->sum += sum_words(at, size);
    else
        payload_check(to, at, size);
    to->seen++;
}

#endif
