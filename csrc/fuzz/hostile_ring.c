#define _GNU_SOURCE
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "hostile_ring.h"
#include "../tests/open_ring.h"
#include "../tests/open_sender.h"

#define GUARD_BYTES ((uint64_t)1 << 32)

static char last_object[32];
static pid_t maker;

void must_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

static void remove_object(void)
{
    char path[40] = "/";
    if (maker != getpid())
        return;
    kr_unlink_doorbells(last_object);
    shm_unlink(strcat(path, last_object));
}

void hostile_object(char name[32])
{
    unsigned char bytes[10];
    char path[40] = "/";
    MUST(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    strcpy(name, "kevy-f");
    for (size_t i = 0; i < sizeof bytes; i++)
        sprintf(name + 6 + 2 * i, "%02x", bytes[i]);
    int fd = shm_open(strcat(path, name), O_CREAT | O_EXCL | O_RDWR, 0600);
    MUST(fd >= 0 && !close(fd));
    strcpy(last_object, name);
    if (!maker)
        atexit(remove_object);
    maker = getpid();
}

static char *guarded_area(const kr_map *map)
{
    uint64_t bytes = map->capacity;
    char *base = mmap(NULL, 2 * GUARD_BYTES + 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MUST(base != MAP_FAILED);
    char *area = base + GUARD_BYTES;
    for (int copy = 0; copy < 2; copy++)
        MUST(mmap(area + (uint64_t)copy * bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, map->segment, (off_t)map->page) != MAP_FAILED);
    return area;
}

struct hostile_ring *hostile_ring(void)
{
    static struct hostile_ring ring;
    kr_failure why = {0};
    if (ring.map)
        return &ring;
    hostile_object(ring.name);
    ring.map = kr_map_create(ring.name, kr_page_bytes(), &why);
    MUST(ring.map);
    remove_object();
    ring.area = guarded_area(ring.map);
    ring.sender = kr_sender_open(ring.map, kr_area_map(ring.map, &why), &why);
    MUST(ring.sender);
    ring.producer = kr_sender_producer(ring.sender);
    ring.producer->data = ring.area; /* not at kr_area_map(): this area has no page that counts its holders */
    ring.consumer = kr_consumer_open(ring.map, ring.area, &why);
    MUST(ring.consumer);
    return &ring;
}

void hostile_reset(struct hostile_ring *ring, uint64_t position)
{
    struct kr_header *header = ring->map->header;
    struct kr_producer *producer = ring->producer;
    struct kr_consumer *consumer = ring->consumer;
    hostile_allow(ring);
    memset(ring->area, 0, ring->map->capacity);
    store_relaxed(&header->data_request, 0);
    store_relaxed(&header->space_request, 0);
    store_relaxed(&header->space_wanted, 0);
    memset(header->note, 0, sizeof header->note);
    memset(header->stamp, 0, sizeof header->stamp);
    store_relaxed(&header->stamps, 0);
    store_relaxed(&header->head, position);
    store_relaxed(&header->tail, position);
    kr_overflow_free(&ring->sender->overflow);
    memset(&producer->note, 0, sizeof producer->note);
    memset(ring->sender->next_id, 0, sizeof ring->sender->next_id);
    ring->sender->id_waits = 0;
    producer->tail = producer->staged = producer->head_cache = position;
    producer->staged_events = producer->reserved = producer->data_reply = producer->space_request = 0;
    producer->gone = 0;
    consumer->head = consumer->drained = position;
    consumer->data_request = consumer->space_reply = consumer->fault_position = 0;
    consumer->fault_field = 0;
    store_relaxed(&consumer->idle_at, UINT64_MAX);
}

/* Both copies of a range, which may wrap around. */
static void mark(struct hostile_ring *ring, uint64_t from, uint64_t span, int forbid)
{
    uint64_t capacity = ring->map->capacity, index = from & (capacity - 1);
    uint64_t first = span < capacity - index ? span : capacity - index;
    const struct { uint64_t index, span; } parts[] = {{index, first}, {index + capacity, first}, {0, span - first}, {capacity, span - first}};
    for (unsigned i = 0; i < 4; i++) {
        char *at = ring->area + parts[i].index;
        if (!parts[i].span)
            continue;
        if (forbid)
            ASAN_POISON_MEMORY_REGION(at, parts[i].span);
        else
            ASAN_UNPOISON_MEMORY_REGION(at, parts[i].span);
    }
}

void hostile_allow(struct hostile_ring *ring) { ASAN_UNPOISON_MEMORY_REGION(ring->area, 2 * ring->map->capacity); }

/* Without the sanitizer nothing is poisoned, so everything is allowed. */
int hostile_allowed(const char *at, uint64_t bytes)
{
#if defined(__SANITIZE_ADDRESS__) || (defined(__has_feature) && __has_feature(address_sanitizer))
    return !bytes || !__asan_region_is_poisoned((void *)(uintptr_t)at, bytes);
#else
    return at || !bytes;
#endif
}

void hostile_forbid(struct hostile_ring *ring, uint64_t from, uint64_t span)
{
    if (span)
        mark(ring, from, span < ring->map->capacity ? span : ring->map->capacity, 1);
}

/* Allows only the copy that begins in the first half: the consumer reads a batch in one piece. */
void hostile_forbid_all_but(struct hostile_ring *ring, uint64_t from, uint64_t span)
{
    uint64_t capacity = ring->map->capacity, index = from & (capacity - 1);
    uint64_t end = index + span < 2 * capacity ? index + span : 2 * capacity;
    ASAN_POISON_MEMORY_REGION(ring->area, 2 * capacity);
    ASAN_UNPOISON_MEMORY_REGION(ring->area + index, end - index);
}

uint64_t input_number(struct input *input, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes && input->at < input->end; i++)
        number |= (uint64_t)*input->at++ << (8 * i);
    return number;
}
