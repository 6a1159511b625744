/* The segment: making, attaching, refusals, sizes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "open_ring.h"
#include "scratch_ring.h"

static int create_code(const char *name, uint64_t capacity)
{
    kr_failure why = {0};
    kr_map *map = kr_map_create(name, capacity, &why);
    if (map)
        kr_map_close(map);
    return why.code;
}

static int attach_code(const char *name)
{
    kr_failure why = {0};
    kr_map *map = kr_map_attach(name, &why);
    if (map)
        kr_map_close(map);
    CHECK((map == NULL) == (why.code != 0));
    return why.code;
}

static void path_of(char path[64], const char *name, const char *suffix)
{
    snprintf(path, 64, "/dev/shm/%s%s", name, suffix);
}

static void a_new_ring_is_as_large_as_asked_for(void)
{
    for (uint64_t capacity = kr_page_bytes(); capacity <= 1 << 20; capacity *= 4) {
        struct scratch_ring ring;
        kr_stats stats;
        scratch_create(&ring, capacity);
        CHECK_EQ(kr_map_capacity(ring.map), capacity);
        kr_map_stats(ring.map, &stats);
        CHECK_EQ(stats.capacity, capacity);
        CHECK_EQ(stats.head, 0);
        CHECK_EQ(stats.tail, 0);
        CHECK_EQ(stats.creator_pid, getpid());
        CHECK_EQ(stats.creator_start, kr_process_start((uint32_t)getpid()));
        CHECK_EQ(stats.producer.state, 0);
        CHECK_EQ(stats.consumer.state, 0);
        CHECK(stats.created_unix_ns > 1600000000000000000u);
        scratch_close(&ring);
    }
}

static void a_file_that_is_cut_or_removed_is_told(void)
{
    struct scratch_ring ring;
    uint64_t page = kr_page_bytes();
    char path[64];
    scratch_create(&ring, page);
    CHECK_EQ(kr_map_file_bytes(ring.map), 2 * page);
    CHECK_EQ(ftruncate(ring.map->segment, 100), 0);
    CHECK_EQ(kr_map_file_bytes(ring.map), 100);
    path_of(path, ring.name, "");
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(kr_map_file_bytes(ring.map), -1);
    scratch_close(&ring);
}

static void the_area_shows_the_same_bytes_twice(void)
{
    struct scratch_ring ring, other;
    scratch_create(&ring, 8192);
    scratch_attach(&other, ring.name);
    for (uint64_t i = 0; i < 8192; i += 511) {
        ring.area[i] = (char)(i + 1);
        CHECK_EQ(ring.area[i + 8192], (char)(i + 1));
        other.area[i + 8192] = (char)(i + 2);
        CHECK_EQ(ring.area[i], (char)(i + 2));
    }
    scratch_close(&other);
    scratch_close(&ring);
}

static void a_bad_capacity_is_refused(void)
{
    char name[32];
    scratch_object(name);
    const uint64_t bad[] = {0, 1, kr_page_bytes() / 2, kr_page_bytes() + 8, 3 * kr_page_bytes(), (uint64_t)1 << 47, UINT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(create_code(name, bad[i]), KR_E_ARGUMENT);
    CHECK_EQ(attach_code(name), KR_E_NOT_READY);
}

static void a_bad_name_is_refused(void)
{
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    CHECK_EQ(create_code(name, 4096), KR_E_ARGUMENT);
    CHECK_EQ(attach_code(name), KR_E_ARGUMENT);
    CHECK_EQ(attach_code(""), KR_E_ARGUMENT);
    CHECK_EQ(attach_code("../shm/elsewhere"), KR_E_ARGUMENT);
    CHECK_EQ(create_code("a/b", 4096), KR_E_ARGUMENT);
}

static void a_missing_segment_is_missing(void)
{
    CHECK_EQ(create_code("kevy-t-no-such-segment", 4096), KR_E_MISSING);
    CHECK_EQ(attach_code("kevy-t-no-such-segment"), KR_E_MISSING);
}

static void a_segment_larger_than_the_file_system_is_refused(void)
{
    char name[32];
    struct statvfs fs;
    kr_failure why = {0};
    CHECK(!statvfs("/dev/shm", &fs));
    if (!fs.f_blocks) /* without a limit it would take all memory */
        return;
    scratch_object(name);
    CHECK(!kr_map_create(name, (uint64_t)1 << 46, &why));
    CHECK_EQ(why.code, KR_E_SPACE);
    CHECK_EQ(why.needed, ((uint64_t)1 << 46) + kr_page_bytes());
    CHECK(why.free_bytes > 0 && why.free_bytes < why.needed);
}

static void nothing_to_do(int number) { (void)number; }

static void signals_do_not_keep_a_segment_from_being_made(void)
{
    struct sigaction action, before;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    struct itimerspec often = {{0, 500000}, {0, 500000}}, never = {{0, 0}, {0, 0}};
    char name[32];
    timer_t timer;
    memset(&action, 0, sizeof action);
    action.sa_handler = nothing_to_do;
    action.sa_flags = SA_RESTART;
    CHECK(!sigaction(SIGUSR2, &action, &before));
    CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer));
    scratch_object(name);
    CHECK(!timer_settime(timer, 0, &often, NULL));
    CHECK_EQ(create_code(name, 64 << 20), 0);
    CHECK(!timer_settime(timer, 0, &never, NULL));
    CHECK(!timer_delete(timer));
    CHECK(!sigaction(SIGUSR2, &before, NULL));
}

static void a_segment_that_is_not_finished_is_not_ready(void)
{
    struct scratch_ring ring;
    char name[32], path[64];
    scratch_object(name);
    CHECK_EQ(attach_code(name), KR_E_NOT_READY); /* no size */
    scratch_create(&ring, 4096);
    store_relaxed(&ring.map->header->magic, 0);
    CHECK_EQ(attach_code(ring.name), KR_E_NOT_READY); /* no magic */
    store_relaxed(&ring.map->header->magic, KR_MAGIC);
    CHECK_EQ(attach_code(ring.name), 0);
    path_of(path, ring.name, ".space");
    CHECK(!unlink(path));
    CHECK_EQ(attach_code(ring.name), KR_E_NOT_READY); /* no doorbell */
    path_of(path, ring.name, ".data");
    CHECK(!unlink(path));
    CHECK_EQ(attach_code(ring.name), KR_E_NOT_READY);
    scratch_close(&ring);
}

static void something_else_is_not_a_ring(void)
{
    struct scratch_ring ring;
    char name[32], path[64], target[64];
    scratch_object(name);
    path_of(path, name, "");
    CHECK(!truncate(path, 100));
    CHECK_EQ(attach_code(name), KR_E_NOT_A_RING); /* smaller than a header */
    scratch_create(&ring, 4096);
    store_relaxed(&ring.map->header->magic, KR_MAGIC + 1);
    CHECK_EQ(attach_code(ring.name), KR_E_NOT_A_RING);
    store_relaxed(&ring.map->header->magic, KR_MAGIC);
    CHECK(!unlink(path));
    path_of(target, ring.name, "");
    CHECK(!symlink(target, path));
    CHECK_EQ(attach_code(name), KR_E_NOT_A_RING); /* a link to a ring */
    CHECK(!unlink(path));
    CHECK(!mkfifo(path, 0600));
    CHECK_EQ(attach_code(name), KR_E_NOT_A_RING);
    path_of(path, ring.name, ".data");
    CHECK(!unlink(path));
    int fd = open(path, O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0 && !close(fd));
    CHECK_EQ(attach_code(ring.name), KR_E_NOT_A_RING); /* a doorbell that is a file */
    scratch_close(&ring);
}

static void another_version_is_refused(void)
{
    struct scratch_ring ring;
    scratch_create(&ring, 4096);
    kr_failure why = {0};
    ring.map->header->version = KR_VERSION + 1;
    CHECK_EQ(attach_code(ring.name), KR_E_VERSION);
    CHECK(!kr_map_attach(ring.name, &why));
    CHECK_EQ(why.needed, KR_VERSION + 1);
    scratch_close(&ring);
}

static void a_header_that_does_not_describe_the_file_is_refused(void)
{
    struct scratch_ring ring;
    char path[64];
    scratch_create(&ring, 8192);
    struct kr_header *header = ring.map->header;
    const uint64_t bad[] = {0, 2048, 4096, 12288, 16384, (uint64_t)1 << 47, UINT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        header->capacity = bad[i];
        CHECK_EQ(attach_code(ring.name), KR_E_GEOMETRY);
    }
    header->capacity = 8192;
    header->header_bytes *= 2;
    CHECK_EQ(attach_code(ring.name), KR_E_GEOMETRY);
    header->header_bytes /= 2;
    CHECK_EQ(attach_code(ring.name), 0);
    path_of(path, ring.name, "");
    CHECK(!truncate(path, (off_t)kr_page_bytes() + 8192 + 4096));
    CHECK_EQ(attach_code(ring.name), KR_E_GEOMETRY);
    scratch_close(&ring);
}

static void attach_as_nobody(void *argument)
{
    if (seteuid(65534))
        child_say('s');
    else
        child_say(attach_code(argument) == KR_E_OWNER ? 'y' : 'n');
}

static void the_segment_of_another_user_is_refused(void)
{
    struct scratch_ring ring;
    char path[64];
    scratch_create(&ring, 4096);
    path_of(path, ring.name, "");
    CHECK(!chmod(path, 0640));
    CHECK_EQ(attach_code(ring.name), KR_E_OWNER); /* others may write to it */
    CHECK(!chmod(path, 0600));
    CHECK_EQ(attach_code(ring.name), 0);
    if (geteuid() == 0) {
        struct child child;
        child_start(&child, attach_as_nobody, ring.name);
        CHECK_EQ(child_listen(&child), 'y');
        child_end(&child);
        CHECK(!chown(path, 1, (gid_t)-1));
        CHECK_EQ(attach_code(ring.name), KR_E_OWNER); /* root may open it, but another user owns it */
        CHECK(!chown(path, 0, (gid_t)-1));
        path_of(path, ring.name, ".data");
        CHECK(!chown(path, 1, (gid_t)-1));
        CHECK(attach_code(ring.name) != 0);
    }
    scratch_close(&ring);
}

static void a_frozen_area_keeps_its_bytes(void)
{
    struct scratch_ring ring;
    kr_failure why = {0};
    scratch_create(&ring, 4096);
    memset(ring.area, 'a', 4096);
    char *kept = kr_area_map(ring.map, &why);
    CHECK(kept);
    CHECK_EQ(kr_area_freeze(kept, 4000, 200), 0);
    memset(ring.area, 'b', 4096);
    for (int i = 4000; i < 4200; i++)
        CHECK_EQ(kept[i], 'a');
    kept[4000] = 'c';
    CHECK_EQ(ring.area[4000], 'b');
    kr_area_free(kept);
    kept = kr_area_map(ring.map, &why);
    CHECK_EQ(kr_area_freeze(kept, 0, 0), 0);
    CHECK_EQ(kept[0], 0);
    kr_area_free(kept);
    scratch_close(&ring);
}

static void without_descriptors_nothing_leaks(void)
{
    struct scratch_ring ring;
    struct rlimit before, tight;
    kr_failure why = {0};
    scratch_create(&ring, 4096);
    int open_before = check_open_descriptors();
    CHECK(!getrlimit(RLIMIT_NOFILE, &before));
    for (rlim_t extra = 0; extra < 3; extra++) {
        int lowest = dup(0);
        CHECK(lowest >= 0 && !close(lowest));
        tight = before;
        tight.rlim_cur = (rlim_t)lowest + extra;
        CHECK(!setrlimit(RLIMIT_NOFILE, &tight));
        CHECK_EQ(attach_code(ring.name), KR_E_SYSTEM);
        CHECK(!kr_map_attach(ring.name, &why));
        CHECK(why.code == KR_E_SYSTEM && why.err == EMFILE);
        CHECK(!setrlimit(RLIMIT_NOFILE, &before));
    }
    CHECK_EQ(check_open_descriptors(), open_before);
    scratch_close(&ring);
}

static void doorbells_are_removed_by_name(void)
{
    struct scratch_ring ring;
    scratch_create(&ring, 4096);
    CHECK_EQ(kr_unlink_doorbells(ring.name), 0);
    CHECK_EQ(kr_unlink_doorbells(ring.name), -1);
    CHECK_EQ(attach_code(ring.name), KR_E_NOT_READY);
    scratch_close(&ring);
}

static void a_prepared_segment_has_all_of_its_header_but_the_magic(void)
{
    char name[32];
    kr_failure why = {0};
    kr_stats stats;
    kr_identity identity;
    struct stat info;
    scratch_object(name);
    kr_map *map = kr_map_prepare(name, 4096, KR_SEGMENT_KEPT, "a label", 7, &why);
    CHECK(map);
    CHECK_EQ(attach_code(name), KR_E_NOT_READY);
    CHECK_EQ(map->header->magic, 0);
    CHECK_EQ(map->header->version, KR_VERSION);
    CHECK_EQ(map->header->header_bytes, kr_page_bytes());
    CHECK_EQ(map->header->capacity, 4096);
    CHECK_EQ(map->header->creator_pid, getpid());
    CHECK_EQ(map->header->creator_start, kr_process_start((uint32_t)getpid()));
    CHECK_EQ(kr_map_identity(map, &identity), 0);
    CHECK(!fstat(map->segment, &info) && identity.inode[0] == info.st_ino && identity.device[0] == info.st_dev);
    CHECK(!identity.inode[1] && !identity.inode[2]);
    CHECK_EQ(kr_map_finish(map, name, &why), 0);
    CHECK_EQ(attach_code(name), 0);
    CHECK_EQ(kr_map_identity(map, &identity), 0);
    CHECK(identity.inode[1] && identity.inode[2]);
    kr_map_stats(map, &stats);
    CHECK_EQ(stats.flags, KR_SEGMENT_KEPT);
    CHECK_EQ(stats.version, KR_VERSION);
    CHECK(!strcmp(stats.label, "a label"));
    kr_map_close(map);
}

static void an_adopter_may_write_another_label_of_any_length(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    char longest[KR_LABEL_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    scratch_create(&ring, 4096);
    kr_map_adopt(ring.map, longest, sizeof longest); /* the rest is cut off */
    kr_map_stats(ring.map, &stats);
    CHECK(!memcmp(stats.label, longest, KR_LABEL_BYTES));
    kr_map_adopt(ring.map, NULL, 0);
    kr_map_stats(ring.map, &stats);
    CHECK(!memcmp(stats.label, longest, KR_LABEL_BYTES));
    kr_map_adopt(ring.map, "short", 5);
    kr_map_stats(ring.map, &stats);
    CHECK(!strcmp(stats.label, "short"));
    CHECK_EQ(stats.flags, 0);
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(a_new_ring_is_as_large_as_asked_for),
    CASE(a_file_that_is_cut_or_removed_is_told),
    CASE(the_area_shows_the_same_bytes_twice),
    CASE(a_bad_capacity_is_refused),
    CASE(a_bad_name_is_refused),
    CASE(a_missing_segment_is_missing),
    CASE(a_segment_larger_than_the_file_system_is_refused),
    CASE(signals_do_not_keep_a_segment_from_being_made),
    CASE(a_segment_that_is_not_finished_is_not_ready),
    CASE(something_else_is_not_a_ring),
    CASE(another_version_is_refused),
    CASE(a_header_that_does_not_describe_the_file_is_refused),
    CASE(the_segment_of_another_user_is_refused),
    CASE(a_frozen_area_keeps_its_bytes),
    CASE(without_descriptors_nothing_leaks),
    CASE(doorbells_are_removed_by_name),
    CASE(a_prepared_segment_has_all_of_its_header_but_the_magic),
    CASE(an_adopter_may_write_another_label_of_any_length),
};
CHECK_MAIN(cases)
