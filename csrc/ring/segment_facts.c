/* The facts of a segment for processes that only look: its files, positions, roles, counters and label. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ring/ring.h"

int kr_map_identity(kr_map *map, kr_identity *out)
{
    const int held[3] = {map->segment, map->data_bell, map->space_bell};
    struct stat info;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 3 && held[i] >= 0; i++) {
        if (fstat(held[i], &info))
            return errno;
        out->device[i] = info.st_dev;
        out->inode[i] = info.st_ino;
    }
    return 0;
}

/* For callers that look at the pages: if another process truncated the file, they must not touch those behind its end. */
int64_t kr_map_file_bytes(kr_map *map)
{
    struct stat info;
    return fstat(map->segment, &info) || !info.st_nlink ? -1 : (int64_t)info.st_size;
}

void kr_map_stats(kr_map *map, kr_stats *out)
{
    struct kr_header *header = map->header;
    memset(out, 0, sizeof *out);
    out->capacity = map->capacity;
    out->version = header->version;
    out->creator_pid = header->creator_pid;
    out->flags = header->flags;
    out->creator_start = header->creator_start;
    out->created_unix_ns = header->created_unix_ns;
    /* Head first, so that it cannot be beyond the tail that is read with it. If much happened between the two loads, they do
     * not fit together: try again. If they never do, the ring is corrupt. */
    for (int tries = 0; tries < 100 && (!tries || out->tail - out->head > out->capacity); tries++) {
        out->head = load_acquire(&header->head);
        out->tail = load_acquire(&header->tail);
    }
    kr_role_read(&header->producer, &out->producer);
    kr_role_read(&header->consumer, &out->consumer);
    out->events_in = load_relaxed(&header->events_in);
    out->bytes_in = load_relaxed(&header->bytes_in);
    out->publishes = load_relaxed(&header->publishes);
    out->full_hits = load_relaxed(&header->full_hits);
    out->data_wakes = load_relaxed(&header->data_wakes);
    out->events_out = load_relaxed(&header->events_out);
    out->bytes_out = load_relaxed(&header->bytes_out);
    out->drains = load_relaxed(&header->drains);
    out->space_wakes = load_relaxed(&header->space_wakes);
    out->last_drain_ns = load_relaxed(&header->last_drain_ns);
    out->now_ns = kr_now_ns();
    /* Acquire: with a word, all that its writer stored before it in the later words is visible too. */
    for (int i = 0; i < KR_WORDS; i++) {
        out->producer_words[i] = load_acquire(&header->producer_words[i]);
        out->consumer_words[i] = load_acquire(&header->consumer_words[i]);
    }
    for (int i = 0; i < KR_LABEL_WORDS; i++) {
        uint64_t word = load_relaxed(&header->label[i]);
        memcpy(out->label + 8 * i, &word, sizeof word);
    }
}
