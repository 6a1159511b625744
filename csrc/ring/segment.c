/* The segment: it is made, found, checked once and mapped. Its header is a claim by another process until it is checked.
 * After that, only the private copy of the geometry is used. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "ring/ring.h"

#define NAME_BYTES_MAX 240 /* a file name has 255, and a doorbell's suffix is appended */
#define TAKE_STEP_BYTES ((uint64_t)1 << 20) /* takes some hundred microseconds */

/* Whether the name can only mean a file in the one directory of segments and doorbells. */
static int is_plain(const char *name) { return *name && strlen(name) <= NAME_BYTES_MAX && !strchr(name, '/'); }

/* Up to this capacity all pages are mapped at once (half a millisecond for each MiB), so that no send of the first lap
 * stops for a page fault. With a larger ring the attaching process would wait too long. */
#define PREFAULT_MAX ((uint64_t)64 << 20)

uint64_t kr_page_bytes(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

static int open_object(const char *name, kr_failure *why)
{
    char path[272];
    struct stat info;
    if (!is_plain(name))
        return kr_refuse(why, KR_E_ARGUMENT, EINVAL);
    snprintf(path, sizeof path, "/%s", name);
    int fd = shm_open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return kr_refuse(why,
                      errno == ENOENT                                        ? KR_E_MISSING
                      : errno == ELOOP || errno == EINVAL || errno == ENXIO ? KR_E_NOT_A_RING /* a link, a folder, a socket */
                      : errno == EACCES || errno == EPERM                   ? KR_E_OWNER
                                                                            : KR_E_SYSTEM,
                      errno);
    if (fstat(fd, &info) || !S_ISREG(info.st_mode)) {
        close(fd);
        return kr_refuse(why, KR_E_NOT_A_RING, 0);
    }
    /* Root may open anything, but must not use another user's ring. A file of our own that is open to others is mostly no
     * ring at all. */
    if (info.st_uid != geteuid() || (info.st_mode & 077)) {
        uint64_t magic = 0;
        int is_ring = pread(fd, &magic, sizeof magic, offsetof(struct kr_header, magic)) == sizeof magic && magic == KR_MAGIC;
        close(fd);
        return kr_refuse(why, is_ring || info.st_uid != geteuid() ? KR_E_OWNER : KR_E_NOT_A_RING, 0);
    }
    return fd;
}

static int map_header(kr_map *map, kr_failure *why)
{
    void *page = mmap(NULL, map->page, PROT_READ | PROT_WRITE, MAP_SHARED, map->segment, 0);
    if (page == MAP_FAILED)
        return kr_refuse(why, KR_E_SYSTEM, errno);
    map->header = page;
    return 0;
}

void kr_map_hold(struct kr_map *map) { count_up32(&map->holders); }

void kr_map_close(kr_map *map)
{
    if (count_down32(&map->holders) != 0)
        return;
    if (map->header)
        munmap(map->header, map->page);
    if (map->segment >= 0)
        close(map->segment);
    if (map->data_bell >= 0)
        close(map->data_bell);
    if (map->space_bell >= 0)
        close(map->space_bell);
    free(map);
}

static kr_map *new_map(kr_failure *why)
{
    kr_map *map = calloc(1, sizeof *map);
    if (!map) {
        kr_refuse(why, KR_E_NOMEM, ENOMEM);
        return NULL;
    }
    map->page = kr_page_bytes();
    map->segment = map->data_bell = map->space_bell = -1;
    map->holders = 1;
    return map;
}

static kr_map *drop(kr_map *map)
{
    kr_map_close(map);
    return NULL;
}

/* Takes the pages now: a full file system must be an error here, not a SIGBUS in the middle of a record. In steps,
 * because a signal undoes the step that it interrupts: under a profiler's timer one long step would never end. */
static int take_space(int fd, uint64_t bytes, kr_failure *why)
{
    struct statvfs fs;
    int err = 0, limited = !fstatvfs(fd, &fs) && fs.f_blocks;
    uint64_t free_bytes = limited ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
    if (free_bytes < bytes)
        err = ENOSPC; /* before posix_fallocate() takes all the space that is left */
    for (uint64_t at = 0; at < bytes && !err; at += TAKE_STEP_BYTES) {
        uint64_t step = bytes - at < TAKE_STEP_BYTES ? bytes - at : TAKE_STEP_BYTES;
        do
            err = posix_fallocate(fd, (off_t)at, (off_t)step);
        while (err == EINTR);
    }
    if (!err)
        return 0;
    why->needed = bytes;
    why->free_bytes = limited ? free_bytes : 0;
    return kr_refuse(why, err == ENOSPC || err == EFBIG ? KR_E_SPACE : KR_E_SYSTEM, err);
}

static void write_label(struct kr_header *header, const char *label, uint64_t bytes)
{
    uint64_t words[KR_LABEL_WORDS] = {0};
    memcpy(words, label, bytes < sizeof words ? bytes : sizeof words);
    for (int i = 0; i < KR_LABEL_WORDS; i++)
        store_relaxed(&header->label[i], words[i]);
}

static int write_creator(kr_map *map, uint32_t flags, kr_failure *why)
{
    struct kr_header *header = map->header;
    struct timespec now;
    uint64_t start;
    int unknown = kr_own_start(&start);
    if (unknown)
        return kr_refuse(why, KR_E_SYSTEM, unknown);
    clock_gettime(CLOCK_REALTIME, &now);
    header->version = KR_VERSION;
    header->header_bytes = (uint32_t)map->page;
    header->capacity = map->capacity;
    header->created_unix_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    header->creator_pid = (uint32_t)getpid();
    header->flags = flags;
    header->creator_start = start;
    return 0;
}

kr_map *kr_map_prepare(const char *name, uint64_t capacity, uint32_t flags, const char *label, uint64_t label_bytes, kr_failure *why)
{
    kr_map *map = new_map(why);
    if (!map)
        return NULL;
    if (capacity < map->page || (capacity & (capacity - 1)) || capacity > (uint64_t)1 << 46) {
        kr_refuse(why, KR_E_ARGUMENT, EINVAL);
        return drop(map);
    }
    map->capacity = capacity;
    snprintf(map->name, sizeof map->name, "%s", name);
    map->segment = open_object(name, why);
    /* Mapped first, although there is nothing to touch yet: a search for the processes that use the file then finds this one. */
    if (map->segment < 0 || map_header(map, why) || take_space(map->segment, map->page + capacity, why) || write_creator(map, flags, why))
        return drop(map);
    write_label(map->header, label, label_bytes);
    return map;
}

int kr_map_finish(kr_map *map, const char *name, kr_failure *why)
{
    map->data_bell = kr_bell_open(name, "data", 1, why);
    if (map->data_bell < 0)
        return why->code;
    map->space_bell = kr_bell_open(name, "space", 1, why);
    if (map->space_bell < 0)
        return why->code;
    snprintf(map->name, sizeof map->name, "%s", name); /* it was made under another name */
    struct kr_header *header = map->header;
    /* Pairs with the acquire load of magic in check_header(): a process that sees it sees the whole header. */
    store_release(&header->magic, KR_MAGIC);
    return 0;
}

static int check_header(kr_map *map, uint64_t file_bytes, kr_failure *why)
{
    const struct kr_header *header = map->header;
    uint64_t magic = load_acquire(&header->magic);
    if (magic == 0)
        return kr_refuse(why, KR_E_NOT_READY, 0);
    if (magic != KR_MAGIC)
        return kr_refuse(why, KR_E_NOT_A_RING, 0);
    if (header->version != KR_VERSION) {
        why->needed = header->version;
        return kr_refuse(why, KR_E_VERSION, 0);
    }
    uint64_t capacity = header->capacity;
    if (header->header_bytes != map->page || capacity < map->page || (capacity & (capacity - 1)) ||
        capacity > (uint64_t)1 << 46 || file_bytes != map->page + capacity)
        return kr_refuse(why, KR_E_GEOMETRY, 0);
    map->capacity = capacity;
    return 0;
}

kr_map *kr_map_attach(const char *name, kr_failure *why)
{
    kr_map *map = new_map(why);
    struct stat info;
    if (!map)
        return NULL;
    snprintf(map->name, sizeof map->name, "%s", name);
    map->segment = open_object(name, why);
    if (map->segment < 0)
        return drop(map);
    if (fstat(map->segment, &info) || (uint64_t)info.st_size < map->page) {
        kr_refuse(why, info.st_size == 0 ? KR_E_NOT_READY : KR_E_NOT_A_RING, 0);
        return drop(map);
    }
    if (map_header(map, why) || check_header(map, (uint64_t)info.st_size, why))
        return drop(map);
    map->data_bell = kr_bell_open(name, "data", 0, why);
    if (map->data_bell < 0)
        return drop(map);
    map->space_bell = kr_bell_open(name, "space", 0, why);
    if (map->space_bell < 0)
        return drop(map);
    return map;
}

uint64_t kr_map_capacity(kr_map *map) { return map->capacity; }

/* In a private page before the data, so that freeing needs only the address. */
struct area {
    uint64_t capacity;
    kr_word32 holders; /* its views, and a sender that outlives its handle: the last one unmaps */
};

static struct area *area_of(char *area) { return (struct area *)(void *)(area - kr_page_bytes()); }

char *kr_area_map(kr_map *map, kr_failure *why)
{
    uint64_t page = map->page, capacity = map->capacity;
    char *base = mmap(NULL, page + 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        kr_refuse(why, KR_E_SYSTEM, errno);
        return NULL;
    }
    char *data = base + page;
    int flags = MAP_SHARED | MAP_FIXED | (capacity <= PREFAULT_MAX ? MAP_POPULATE : 0), access = PROT_READ | PROT_WRITE;
    if (mprotect(base, page, access) ||
        mmap(data, capacity, access, flags, map->segment, (off_t)page) == MAP_FAILED ||
        mmap(data + capacity, capacity, access, flags, map->segment, (off_t)page) == MAP_FAILED) {
        kr_refuse(why, KR_E_SYSTEM, errno);
        munmap(base, page + 2 * capacity);
        return NULL;
    }
    area_of(data)->capacity = capacity;
    area_of(data)->holders = 1;
    return data;
}

void kr_area_hold(char *area) { count_up32(&area_of(area)->holders); }

void kr_area_free(char *area)
{
    uint64_t page = kr_page_bytes(), capacity = area_of(area)->capacity;
    if (count_down32(&area_of(area)->holders) == 0)
        munmap(area - page, page + 2 * capacity);
}

/* Replaces the area by a private copy of [index, index + span), so that views that outlive their batch keep their bytes.
 * A producer or consumer cannot use the area any more. */
int kr_area_freeze(char *area, uint64_t index, uint64_t span)
{
    uint64_t bytes = 2 * area_of(area)->capacity;
    char *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (copy == MAP_FAILED)
        return KR_E_NOMEM;
    if (span)
        memcpy(copy + index, area + index, span);
    if (mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, area) == MAP_FAILED) {
        munmap(copy, bytes);
        return KR_E_NOMEM;
    }
    return 0;
}

/* The creator's fields name the responsible process. One process at a time writes them, before it takes a role. */
void kr_map_adopt(kr_map *map, const char *label, uint64_t label_bytes)
{
    struct kr_header *header = map->header;
    if (label)
        write_label(header, label, label_bytes);
    header->creator_pid = (uint32_t)getpid();
    header->creator_start = kr_process_start(header->creator_pid);
}
