/* One path of the core, alone, by one thread that is producer and consumer in turn. bench/gate.py counts its instructions.
 *
 *   paths write|drain ROUNDS BYTES               records of that size, 256 for each write_many
 *   paths scan|scan-mixed|ingest-drain ROUNDS    kevy frames: SET, a 16-byte key, a 64-byte value
 *   paths append|move ROUNDS                     frames into the overflow; the overflow into the ring */
#include <stdio.h>
#include <stdlib.h>

#include "ring.h"

#define RING_BYTES ((uint64_t)1 << 20)
#define BATCH 256
#define PIECE_BYTES 262144 /* of the wire, as the runner receives it */

static struct ring ring;
static uint64_t timed_ns, timed_records;

static void open_both(uint64_t ring_bytes)
{
    ring_create(&ring, 0, ring_bytes);
    ring_produce(&ring);
    ring_consume(&ring, BATCH);
}

/* Drains and releases everything. Returns the number of records. */
static uint64_t drain_all(void)
{
    kr_batch batch;
    uint64_t total = 0, count;
    while ((count = ring_drain(&ring, BATCH, UINT64_MAX, &batch))) {
        ring_release(&ring, &batch, count);
        total += count;
    }
    return total;
}

static void add_time(uint64_t begin_ns, uint64_t end_ns, int is_wanted) { timed_ns += is_wanted ? end_ns - begin_ns : 0; }

static void write_and_drain(int timing_write, uint64_t rounds, uint64_t size)
{
    uint32_t lengths[BATCH];
    uint64_t batch = size * BATCH < RING_BYTES / 2 ? BATCH : RING_BYTES / 2 / (size + 16);
    char *joined = malloc(size * batch);
    memset(joined, 'x', size * batch);
    for (uint64_t i = 0; i < batch; i++)
        lengths[i] = (uint32_t)size;
    open_both(RING_BYTES);
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t begin_ns = clock_ns();
        int64_t taken = kr_producer_write_many(ring.producer, joined, batch * size, lengths, batch);
        uint64_t middle_ns = clock_ns(), seen = drain_all();
        add_time(begin_ns, middle_ns, timing_write);
        add_time(middle_ns, clock_ns(), !timing_write);
        timed_records += batch;
        if (taken != (int64_t)batch || seen != batch)
            fail("a batch did not fit");
    }
    free(joined);
}

static void scan_and_drain(int timing_scan, int mixed, uint64_t rounds)
{
    struct wire wire;
    kr_scanner *scanner = kr_scanner_new();
    wire_make(&wire, 20000, 1000000, 64, mixed);
    open_both(RING_BYTES);
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t at = 0, next = wire.first; at < wire.length;) {
            kr_scan out;
            uint64_t piece = wire.length - at < PIECE_BYTES ? wire.length - at : PIECE_BYTES, begin_ns = clock_ns();
            int code = kr_scan_kevy(ring.producer, scanner, wire.bytes + at, piece, next, &out);
            uint64_t middle_ns = clock_ns(), frames = drain_all();
            add_time(begin_ns, middle_ns, timing_scan);
            add_time(middle_ns, clock_ns(), !timing_scan);
            timed_records += frames;
            if (code != KR_SEND_RING || frames != out.frames || !frames)
                fail("a piece did not fit");
            at += out.consumed;
            next += out.frames;
        }
    }
    kr_scanner_free(scanner);
    free(wire.bytes);
}

static void overflow(int timing_append, uint64_t rounds)
{
    enum { FRAMES = 8192, FRAME_BYTES = 83 };
    const char *joined = "SETkey:000000123456the value of it, of sixty-four bytes, as in the other cases of.";
    static uint32_t lengths[3 * FRAMES], argcs[FRAMES];
    static uint64_t offsets[FRAMES];
    static uint8_t kinds[FRAMES];
    char *all = malloc(FRAME_BYTES * FRAMES);
    for (int i = 0; i < FRAMES; i++) {
        memcpy(all + FRAME_BYTES * i, joined, strlen(joined));
        memcpy(lengths + 3 * i, (uint32_t[]){3, 16, 64}, 12);
        argcs[i] = 3;
        offsets[i] = (uint64_t)i;
        kinds[i] = 4;
    }
    open_both(131072); /* it holds a seventh of the frames; the others overflow */
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t accepted, begin_ns = clock_ns();
        int code = kr_send_many(ring.producer, FRAMES, kinds, offsets, argcs, all, FRAME_BYTES * FRAMES, lengths, 3 * FRAMES, &accepted);
        add_time(begin_ns, clock_ns(), timing_append);
        timed_records += FRAMES;
        if (code < 0 || accepted != FRAMES)
            fail("kr_send_many");
        for (uint64_t seen = 0; seen < FRAMES;) {
            seen += drain_all();
            begin_ns = clock_ns();
            if (kr_pump(ring.producer, 0) < 0)
                fail("kr_pump");
            add_time(begin_ns, clock_ns(), !timing_append);
        }
    }
    free(all);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "";
    uint64_t rounds = argument(argc, argv, 2);
    if (!strcmp(path, "write") || !strcmp(path, "drain"))
        write_and_drain(path[0] == 'w', rounds, argument(argc, argv, 3));
    else if (!strncmp(path, "scan", 4))
        scan_and_drain(1, !strcmp(path, "scan-mixed"), rounds);
    else if (!strcmp(path, "ingest-drain"))
        scan_and_drain(0, 0, rounds);
    else if (!strcmp(path, "append") || !strcmp(path, "move"))
        overflow(path[0] == 'a', rounds);
    else
        argument(argc, argv, 0); /* says that an argument is wrong */
    ring_remove(&ring);
    print_result((double)timed_ns / 1e9, timed_records, "");
    return 0;
}
