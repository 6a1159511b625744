/* One thread that is producer and consumer of a ring in turn. */
#define _GNU_SOURCE
#include "one_side.h"
#include "tests/open_ring.h"
#include "tests/open_sender.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void one_side_open(struct one_side *both, uint64_t ring_bytes, uint64_t most)
{
    kr_failure why = {0};
    memset(both, 0, sizeof *both);
    snprintf(both->name, sizeof both->name, "kr-bench-%d", (int)getpid());
    int fd = shm_open(both->name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        fail("shm_open");
    close(fd);
    both->most = most;
    both->columns = malloc(COLUMN_BYTES * most);
    both->map = kr_map_create(both->name, ring_bytes, &why);
    if (!both->map)
        fail("kr_map_create");
    both->area = kr_area_map(both->map, &why);
    both->sender = kr_sender_open(both->map, both->area, &why);
    both->producer = both->sender ? kr_sender_producer(both->sender) : NULL;
    both->consumer = kr_consumer_open(both->map, both->area, &why);
    if (!both->producer || !both->consumer)
        fail("opening the roles");
}

void one_side_close(struct one_side *both)
{
    kr_sender_free(both->sender);
    kr_consumer_free(both->consumer);
    kr_area_free(both->area);
    kr_unlink_doorbells(both->name);
    shm_unlink(both->name);
    kr_map_close(both->map);
    free(both->columns);
}

uint64_t one_side_drain(struct one_side *both, uint64_t *sum)
{
    uint64_t total = 0;
    for (;;) {
        kr_batch batch;
        int64_t count = kr_consumer_drain(both->consumer, both->most, UINT64_MAX, both->columns, &batch);
        if (count < 0)
            fail("kr_consumer_drain");
        if (count == 0)
            return total;
        if (sum) {
            const char *records = both->area + batch.index;
            for (uint64_t i = 0; i < batch.span; i += 8) {
                uint64_t word;
                memcpy(&word, records + i, sizeof word);
                *sum += word;
            }
        }
        if (kr_consumer_release(both->consumer, batch.position + batch.span, (uint64_t)count, 1) < 0)
            fail("kr_consumer_release");
        total += (uint64_t)count;
    }
}
