/* The `snapshot` case, driven from C: 64 KiB chunks are written into the ring in place, and appended to the shard's buffer
 * from there. The buffer is used again from its start when it is full.
 *
 *   snapshot_kevy CHUNKS RING_BYTES [check]    check compares every chunk in the buffer with its source */
#include <stdlib.h>

#include "ring.h"

#define CHUNK_BYTES ((uint64_t)65536)
#define SOURCES 16
#define SNAPSHOT_CHUNKS 1024
#define MOST 64

static struct ring ring;
static struct meeting *meeting;
static char *sources;
static uint64_t chunks;

static const char *source_of(uint64_t chunk) { return sources + chunk % SOURCES * CHUNK_BYTES; }

static void produce(void *nothing)
{
    (void)nothing;
    ring_send(&ring);
    meet(meeting);
    for (uint64_t i = 0; i < chunks; i++) {
        struct waiting waiting = {0};
        int64_t index;
        while ((index = kr_chunk_reserve(ring.sender, CHUNK_BYTES)) == KR_RESERVE_FULL)
            wait_more(&waiting);
        if (index < 0)
            fail("kr_chunk_reserve");
        memcpy(ring.area + index, source_of(i), CHUNK_BYTES);
        if (kr_chunk_commit(ring.sender, CHUNK_BYTES) != KR_SEND_RING)
            fail("kr_chunk_commit");
    }
    kr_sender_close(ring.sender);
}

static uint64_t consume(char *shard, int check)
{
    uint64_t seen = 0, wrong = 0;
    struct waiting waiting = {0};
    ring_consume(&ring, MOST);
    meet(meeting);
    while (seen < chunks) {
        kr_batch batch;
        uint64_t count = ring_drain(&ring, MOST, ring.bytes / 8, &batch);
        if (!count) {
            wait_more(&waiting);
            continue;
        }
        for (uint64_t i = 0; i < count; i++, seen++) {
            char *to = shard + seen % SNAPSHOT_CHUNKS * CHUNK_BYTES;
            if (ring.lengths[i] != CHUNK_BYTES)
                fail("a chunk of another length");
            memcpy(to, ring.area + batch.index + ring.starts[i], ring.lengths[i]);
            if (check)
                wrong += memcmp(to, source_of(seen), CHUNK_BYTES) != 0;
        }
        ring_release(&ring, &batch, count);
    }
    meeting->end_ns = clock_ns();
    return wrong + (memcmp(shard + (chunks - 1) % SNAPSHOT_CHUNKS * CHUNK_BYTES, source_of(chunks - 1), CHUNK_BYTES) != 0);
}

int main(int argc, char **argv)
{
    chunks = argument(argc, argv, 1);
    sources = malloc(SOURCES * CHUNK_BYTES);
    for (uint64_t i = 0; i < SOURCES; i++)
        payload_fill(sources + i * CHUNK_BYTES, CHUNK_BYTES, i);
    ring_create(&ring, 0, argument(argc, argv, 2));
    meeting = shared_pages(sizeof *meeting);
    pid_t child = part(produce, NULL);
    /* Every page is touched before the time begins, and after the fork, which would share the pages. */
    char *shard = malloc(SNAPSHOT_CHUNKS * CHUNK_BYTES);
    memset(shard, 1, SNAPSHOT_CHUNKS * CHUNK_BYTES);
    uint64_t wrong = consume(shard, argc > 3);
    join(child);
    ring_remove(&ring);
    if (wrong)
        return wrong_answer("snapshot: a chunk is not as it was sent");
    print_result(met_seconds(meeting), chunks * CHUNK_BYTES, "");
    return 0;
}
