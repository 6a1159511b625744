/* The yardstick of the `core` case: one thread that copies records from the prepared payloads to as many bytes as a
 * ring has, and again from the start, with memcpy and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sides.h"

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: %s RECORD_BYTES RECORDS RING_BYTES\n", argv[0]);
        return 2;
    }
    uint64_t size = strtoull(argv[1], NULL, 10), records = strtoull(argv[2], NULL, 10), ring = strtoull(argv[3], NULL, 10);
    uint64_t places = ring / size;
    if (!size || size % 8 || !places || !records)
        return 2;
    char *from = shared_pages(places * size), *to = shared_pages(places * size);
    for (uint64_t i = 0; i < places; i++)
        payload_fill(from + i * size, size, i);
    for (uint64_t i = 0; i < places; i++) /* untimed: the first round brings the pages in */
        memcpy(to + i * size, from + i * size, size);
    int right = memcmp(from, to, places * size) == 0;
    memset(to, 0, places * size);
    uint64_t begin = clock_ns();
    for (uint64_t i = 0, at = 0; i < records; i++) {
        memcpy(to + at, from + at, size);
        __asm__ volatile("" : : "r"(to) : "memory"); /* every copy is made */
        at = at + size == places * size ? 0 : at + size;
    }
    double seconds = (double)(clock_ns() - begin) / 1e9;
    right &= memcmp(from, to, (records < places ? records : places) * size) == 0;
    struct core_plan plan = {.size = size, .records = records, .ring_bytes = ring, .batch = 1};
    if (!right) {
        fprintf(stderr, "memcpy: the copy differs\n");
        return 3;
    }
    core_print("memcpy", "one thread", &plan, "copy", seconds);
    return 0;
}
