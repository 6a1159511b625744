/* Builds the bytes of a run of kevy frames. */
#define _GNU_SOURCE
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sides.h"

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void wire_make(struct wire *wire, uint64_t frames, uint64_t first, uint64_t value_bytes, int mixed)
{
    uint64_t room = frames * (128 + 2 * value_bytes);
    char *at = wire->bytes = malloc(room);
    if (!at)
        fail("malloc");
    wire->frames = frames;
    wire->first = first;
    for (uint64_t i = 0; i < frames; i++) {
        uint64_t bytes = mixed ? 1 + mix(i) % (2 * value_bytes - 1) : value_bytes;
        at += sprintf(at, "*2\r\n:%llu\r\n*3\r\n$3\r\nSET\r\n$16\r\nkey:%012llu\r\n$%llu\r\n", (unsigned long long)(first + i),
                      (unsigned long long)(mix(i) % 1000000), (unsigned long long)bytes);
        for (uint64_t b = 0; b < bytes; b++)
            *at++ = (char)('a' + (mix(i) + b) % 26);
        *at++ = '\r';
        *at++ = '\n';
    }
    wire->length = (uint64_t)(at - wire->bytes);
}
