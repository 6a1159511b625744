/* The yardstick of the `snapshot` case: one thread that appends chunks to the shard's buffer with memcpy and nothing else,
 * from sources that stay in its cache.
 *
 *   snapshot_memcpy CHUNKS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sides.h"

#define CHUNK_BYTES ((uint64_t)65536)
#define SOURCES 16
#define SNAPSHOT_CHUNKS 1024 /* then the shard's buffer is filled anew */

int main(int argc, char **argv)
{
    uint64_t chunks = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    if (!chunks) {
        fprintf(stderr, "usage: %s CHUNKS\n", argv[0]);
        return 2;
    }
    char *sources = malloc(SOURCES * CHUNK_BYTES), *shard = malloc(SNAPSHOT_CHUNKS * CHUNK_BYTES);
    for (uint64_t i = 0; i < SOURCES; i++)
        payload_fill(sources + i * CHUNK_BYTES, CHUNK_BYTES, i);
    memset(shard, 1, SNAPSHOT_CHUNKS * CHUNK_BYTES);
    keep_to_core(1);
    uint64_t begin = clock_ns();
    for (uint64_t i = 0; i < chunks; i++) {
        memcpy(shard + i % SNAPSHOT_CHUNKS * CHUNK_BYTES, sources + i % SOURCES * CHUNK_BYTES, CHUNK_BYTES);
        __asm__ volatile("" : : "r"(shard) : "memory"); /* every copy is made */
    }
    double seconds = (double)(clock_ns() - begin) / 1e9;
    uint64_t last = chunks - 1;
    if (memcmp(shard + last % SNAPSHOT_CHUNKS * CHUNK_BYTES, sources + last % SOURCES * CHUNK_BYTES, CHUNK_BYTES)) {
        fprintf(stderr, "memcpy: the copy differs\n");
        return 3;
    }
    printf("{\"seconds\": %.6f, \"work\": %llu, \"figures\": {}}\n", seconds, (unsigned long long)(chunks * CHUNK_BYTES));
    return 0;
}
