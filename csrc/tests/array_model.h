/* Shared by the two model tests: records whose bytes follow from their number, and the plain array that holds them. */
#ifndef KR_ARRAY_MODEL_H
#define KR_ARRAY_MODEL_H

#include "check.h"
#include "ring/layout.h"

#define CAPACITY 4096u
#define LENGTH_MAX 5000u
#define KEPT 4096u /* records that the array holds, numbered modulo; more than fit ring and overflow in these tests */

/* Record i has number i, and its bytes follow from the number. `given` are given back, `drained` are in the open batch,
 * `shown` are published, `made` are committed. */
struct array {
    uint32_t lengths[KEPT];
    uint64_t given, drained, shown, made;
    uint64_t reserved; /* plus one; 0: none */
};

static uint64_t seed;
static char bytes[LENGTH_MAX * 8];

static inline uint64_t below(uint64_t limit) { return check_below(&seed, limit); }

static inline uint32_t some_length(void)
{
    switch (below(8)) {
    case 0: return 0;
    case 1: return (uint32_t)below(9);
    case 2: return (uint32_t)below(LENGTH_MAX);
    case 3: return (uint32_t)(CAPACITY - 16 - below(3));
    default: return (uint32_t)below(300);
    }
}

static inline void fill(char *to, uint64_t number, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] = (char)(number * 131 + i * 7);
}

static inline void verify(const char *from, uint64_t number, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        CHECK_EQ(from[i], (char)(number * 131 + i * 7));
}

static inline uint64_t span_of(const struct array *array, uint64_t first, uint64_t last)
{
    uint64_t span = 0;
    for (uint64_t i = first; i < last; i++)
        span += kr_record_span(array->lengths[i % KEPT]);
    return span;
}

static inline void make(struct array *array, uint32_t length)
{
    CHECK(array->made - array->given < KEPT);
    array->lengths[array->made++ % KEPT] = length;
}

static const uint64_t starts[] = {0, (1ull << 31) - 64, (1ull << 32) - 64, (1ull << 63) - 64, 0ull - 64};

#endif
