/* Kevy frames as they come from a primary: SET with a 16-byte key and a value of given size, offsets from `first` on. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdint.h>

struct wire {
    char *bytes;
    uint64_t length, frames, first;
};

/* Value sizes: `value_bytes` each, or, when `mixed`, 1 to 2 * value_bytes - 1 by turns that look random. */
void wire_make(struct wire *wire, uint64_t frames, uint64_t first, uint64_t value_bytes, int mixed);

#endif
