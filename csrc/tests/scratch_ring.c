/* Rings for tests: made, drained, removed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "check.h"
#include "open_ring.h"
#include "scratch_ring.h"

#define NAMES 64

static struct {
    pid_t maker; /* a forked child has the table too, but not the rings */
    char name[32];
} made[NAMES];
static int rings;

/* Also called from a signal handler, so it calls only unlink(). */
void scratch_remove_all(void)
{
    for (int i = 0; i < rings; i++) {
        char path[48] = "/dev/shm/";
        if (made[i].maker != getpid())
            continue;
        strcat(path, made[i].name);
        kr_unlink_doorbells(made[i].name);
        unlink(path);
    }
    rings = 0;
}

void scratch_object(char name[32])
{
    unsigned char bytes[10];
    char path[40] = "/";
    CHECK(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    strcpy(name, "kevy-t");
    for (size_t i = 0; i < sizeof bytes; i++)
        sprintf(name + 6 + 2 * i, "%02x", bytes[i]);
    CHECK(rings < NAMES);
    made[rings].maker = getpid();
    strcpy(made[rings++].name, name);
    check_at_end(scratch_remove_all);
    int fd = shm_open(strcat(path, name), O_CREAT | O_EXCL | O_RDWR, 0600);
    CHECK(fd >= 0);
    close(fd);
}

void scratch_create(struct scratch_ring *ring, uint64_t capacity)
{
    kr_failure why = {0};
    memset(ring, 0, sizeof *ring);
    scratch_object(ring->name);
    ring->map = kr_map_create(ring->name, capacity, &why);
    CHECK_EQ(why.code, 0);
    CHECK(ring->map);
    ring->area = kr_area_map(ring->map, &why);
    CHECK(ring->area);
}

void scratch_attach(struct scratch_ring *ring, const char *name)
{
    kr_failure why = {0};
    memset(ring, 0, sizeof *ring);
    strcpy(ring->name, name);
    ring->map = kr_map_attach(name, &why);
    CHECK_EQ(why.code, 0);
    CHECK(ring->map);
    ring->area = kr_area_map(ring->map, &why);
    CHECK(ring->area);
}

void scratch_take_producer(struct scratch_ring *ring)
{
    kr_failure why = {0};
    ring->producer = kr_producer_open(ring->map, ring->area, &why);
    CHECK_EQ(why.code, 0);
    CHECK(ring->producer);
}

void scratch_take_consumer(struct scratch_ring *ring)
{
    kr_failure why = {0};
    ring->consumer = kr_consumer_open(ring->map, ring->area, &why);
    CHECK_EQ(why.code, 0);
    CHECK(ring->consumer);
}

void scratch_open_at(struct scratch_ring *ring, uint64_t capacity, uint64_t position)
{
    scratch_create(ring, capacity);
    kr_map_preset(ring->map, position);
    scratch_take_producer(ring);
    scratch_take_consumer(ring);
}

void scratch_open(struct scratch_ring *ring, uint64_t capacity) { scratch_open_at(ring, capacity, 0); }

void scratch_close(struct scratch_ring *ring)
{
    if (ring->sender)
        ring->free_sender(ring->sender);
    else if (ring->producer)
        kr_producer_free(ring->producer);
    if (ring->consumer)
        kr_consumer_free(ring->consumer);
    if (ring->area)
        kr_area_free(ring->area);
    kr_map_close(ring->map);
    ring->producer = NULL;
    ring->sender = NULL;
    ring->consumer = NULL;
    ring->area = NULL;
    ring->map = NULL;
}

int64_t scratch_drain(struct scratch_ring *ring, uint64_t max_records, uint64_t max_bytes)
{
    ring->rows = max_records < SCRATCH_ROWS ? max_records : SCRATCH_ROWS;
    return kr_consumer_drain(ring->consumer, ring->rows, max_bytes, ring->columns, &ring->batch);
}

uint64_t scratch_offset(const struct scratch_ring *ring, uint64_t i)
{
    uint64_t value;
    memcpy(&value, ring->columns + 8 * i, sizeof value);
    return value;
}

static uint64_t start_of(const struct scratch_ring *ring, uint64_t i)
{
    uint64_t value;
    memcpy(&value, ring->columns + 8 * ring->rows + 8 * i, sizeof value);
    return value;
}

uint32_t scratch_length(const struct scratch_ring *ring, uint64_t i)
{
    uint32_t value;
    memcpy(&value, ring->columns + 16 * ring->rows + 4 * i, sizeof value);
    return value;
}

uint32_t scratch_argc(const struct scratch_ring *ring, uint64_t i)
{
    uint32_t value;
    memcpy(&value, ring->columns + 20 * ring->rows + 4 * i, sizeof value);
    return value;
}

uint8_t scratch_kind(const struct scratch_ring *ring, uint64_t i)
{
    return (uint8_t)ring->columns[24 * ring->rows + i];
}

const char *scratch_payload(const struct scratch_ring *ring, uint64_t i)
{
    return ring->area + ring->batch.index + start_of(ring, i);
}

uint64_t scratch_end_of(const struct scratch_ring *ring, uint64_t i)
{
    return ring->batch.position + start_of(ring, i) - KR_RECORD_BYTES + kr_record_span(scratch_length(ring, i));
}

int scratch_release_all(struct scratch_ring *ring)
{
    return kr_consumer_release(ring->consumer, ring->batch.position + ring->batch.span, ring->batch.count, 1);
}

int scratch_write(struct scratch_ring *ring, uint64_t count)
{
    static const uint32_t lengths[4] = {8, 8, 8, 8};
    CHECK(count <= 4);
    return (int)kr_producer_write_many(ring->producer, "12345678123456781234567812345678", 8 * count, lengths, count);
}

int scratch_take(struct scratch_ring *ring)
{
    int64_t got = scratch_drain(ring, 1, UINT64_MAX);
    CHECK(got >= 0);
    if (got)
        CHECK_EQ(scratch_release_all(ring), 0);
    return (int)got;
}

int scratch_has_records(struct scratch_ring *ring)
{
    return load_acquire(&ring->map->header->tail) != ring->consumer->drained;
}

int scratch_bell_rung(int bell)
{
    int bytes = 0;
    CHECK(!ioctl(bell, FIONREAD, &bytes));
    return bytes;
}

int scratch_readable(int descriptor)
{
    struct pollfd watched = {.fd = descriptor, .events = POLLIN};
    return poll(&watched, 1, 0) == 1 && (watched.revents & POLLIN);
}
