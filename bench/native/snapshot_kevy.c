/* The `snapshot` case, driven from C: 64 KiB chunks written into the ring where they will lie, and appended to the shard's
 * buffer from there.
 *
 *   snapshot_kevy CHUNKS RING_BYTES [check] */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "halves.h"
#include "tests/open_sender.h"

#define CHUNK_BYTES 65536
#define SOURCES 16
#define SNAPSHOT_CHUNKS 1024 /* then the shard's buffer is filled anew */
#define MOST 64

struct job {
    struct halves ring;
    char *sources;
    uint64_t chunks;
};

static void produce(void *argument)
{
    struct job *job = argument;
    kr_failure why = {0};
    char *area = kr_area_map(job->ring.map, &why);
    kr_sender *sender = kr_sender_open(job->ring.map, area, &why);
    if (!sender)
        fail("kr_sender_open");
    halves_meet(&job->ring);
    for (uint64_t i = 0; i < job->chunks; i++) {
        struct waiting waiting = {0};
        int64_t index;
        while ((index = kr_chunk_reserve(sender, CHUNK_BYTES)) == KR_RESERVE_FULL)
            wait_more(&waiting);
        if (index < 0)
            fail("kr_chunk_reserve");
        memcpy(area + index, job->sources + i % SOURCES * CHUNK_BYTES, CHUNK_BYTES);
        if (kr_chunk_commit(sender, CHUNK_BYTES) != KR_SEND_RING)
            fail("kr_chunk_commit");
    }
    kr_sender_close(sender);
}

static uint64_t consume(struct job *job, char *shard, int check)
{
    char columns[25 * MOST], *area;
    const uint64_t *starts = (const uint64_t *)(const void *)(columns + 8 * MOST);
    const uint32_t *lengths = (const uint32_t *)(const void *)(columns + 16 * MOST);
    kr_consumer *consumer = halves_consumer(&job->ring, &area);
    uint64_t seen = 0, wrong = 0, used = 0;
    struct waiting waiting = {0};
    halves_meet(&job->ring);
    while (seen < job->chunks) {
        kr_batch batch;
        int64_t count = kr_consumer_drain(consumer, MOST, job->ring.ring_bytes / 8, columns, &batch);
        if (count < 0)
            fail("kr_consumer_drain");
        if (!count)
            wait_more(&waiting);
        for (int64_t i = 0; i < count; i++, seen++) {
            if (used == SNAPSHOT_CHUNKS * (uint64_t)CHUNK_BYTES)
                used = 0;
            memcpy(shard + used, area + batch.index + starts[i], lengths[i]);
            if (check)
                wrong += lengths[i] != CHUNK_BYTES || memcmp(shard + used, job->sources + seen % SOURCES * CHUNK_BYTES, CHUNK_BYTES);
            used += lengths[i];
        }
        if (count && kr_consumer_release(consumer, batch.position + batch.span, (uint64_t)count, 1) < 0)
            fail("kr_consumer_release");
    }
    halves_finish(&job->ring);
    kr_consumer_close(consumer);
    return wrong;
}

int main(int argc, char **argv)
{
    struct job job = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: %s CHUNKS RING_BYTES [check]\n", argv[0]);
        return 2;
    }
    job.chunks = strtoull(argv[1], NULL, 10);
    job.sources = malloc(SOURCES * CHUNK_BYTES);
    for (uint64_t i = 0; i < SOURCES; i++)
        payload_fill(job.sources + i * CHUNK_BYTES, CHUNK_BYTES, i);
    halves_open(&job.ring, strtoull(argv[2], NULL, 10));
    halves_part(&job.ring, produce, &job);
    /* Every page is touched before the time begins (and after the fork, which would share them), as in the others. */
    char *shard = malloc((uint64_t)SNAPSHOT_CHUNKS * CHUNK_BYTES);
    memset(shard, 1, (uint64_t)SNAPSHOT_CHUNKS * CHUNK_BYTES);
    uint64_t wrong = consume(&job, shard, argc > 3);
    double seconds = halves_join(&job.ring);
    if (wrong) {
        fprintf(stderr, "snapshot: %llu chunks are wrong\n", (unsigned long long)wrong);
        return 3;
    }
    printf("{\"seconds\": %.6f, \"work\": %llu, \"figures\": {}}\n", seconds, (unsigned long long)(job.chunks * CHUNK_BYTES));
    return 0;
}
