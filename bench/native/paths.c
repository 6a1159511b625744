/* One path of the core, alone, by one thread that is producer and consumer in turn. bench/gate.py counts its instructions.
 *
 *   paths write ROUNDS BYTES         records of that size, 256 for each write_many, and their drain
 *   paths scan|scan-mixed ROUNDS     kevy frames into the ring, and their drain: SET, a 16-byte key, a 64-byte value
 *   paths overflow ROUNDS            frames into the overflow, and the overflow into the ring */
#include <stdio.h>
#include <stdlib.h>

#include "ring.h"

#define RING_BYTES ((uint64_t)1 << 20)
#define BATCH 256
#define PIECE_BYTES 262144 /* of the wire, as the runner receives it */

static struct ring ring;
static uint64_t records_in_all;

static void open_both(uint64_t ring_bytes)
{
    ring_create(&ring, 0, ring_bytes);
    ring_send(&ring);
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

static void write_and_drain(uint64_t rounds, uint64_t size)
{
    uint32_t lengths[BATCH];
    uint64_t batch = size * BATCH < RING_BYTES / 2 ? BATCH : RING_BYTES / 2 / (size + 16);
    char *joined = malloc(size * batch);
    memset(joined, 'x', size * batch);
    for (uint64_t i = 0; i < batch; i++)
        lengths[i] = (uint32_t)size;
    open_both(RING_BYTES);
    for (uint64_t i = 0; i < rounds; i++) {
        int64_t taken = kr_producer_write_many(ring.producer, joined, batch * size, lengths, batch);
        uint64_t seen = drain_all();
        records_in_all += batch;
        if (taken != (int64_t)batch || seen != batch)
            fail("a batch did not fit");
    }
    free(joined);
}

static void scan_and_drain(int mixed, uint64_t rounds)
{
    struct wire wire;
    kr_scanner *scanner = kr_scanner_new();
    wire_make(&wire, 20000, 1000000, 64, mixed);
    open_both(RING_BYTES);
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t at = 0, next = wire.first; at < wire.length;) {
            kr_scan out;
            uint64_t piece = wire.length - at < PIECE_BYTES ? wire.length - at : PIECE_BYTES;
            int code = kr_scan_kevy(ring.sender, scanner, wire.bytes + at, piece, next, &out);
            uint64_t frames = drain_all();
            records_in_all += frames;
            if (code != KR_SEND_RING || frames != out.frames || !frames)
                fail("a piece did not fit");
            at += out.consumed;
            next += out.frames;
        }
    }
    kr_scanner_free(scanner);
    free(wire.bytes);
}

static void overflow(uint64_t rounds)
{
    enum { FRAMES = 8192, FRAME_BYTES = 83 };
    const char *joined = "SETkey:000000123456the value of it, of sixty-four bytes, as in the other cases of.";
    static kr_piece pieces[3 * FRAMES];
    static uint32_t argcs[FRAMES];
    static uint64_t offsets[FRAMES];
    char *all = malloc(FRAME_BYTES * FRAMES);
    for (int i = 0; i < FRAMES; i++) {
        memcpy(all + FRAME_BYTES * i, joined, strlen(joined));
        char *at = all + FRAME_BYTES * i;
        memcpy(pieces + 3 * i, (kr_piece[]){{at, 3}, {at + 3, 16}, {at + 19, 64}}, 3 * sizeof *pieces);
        argcs[i] = 3;
        offsets[i] = (uint64_t)i;
    }
    open_both(131072); /* it holds a seventh of the frames; the others overflow */
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t accepted;
        int code = kr_send_pieces(ring.sender, FRAMES, NULL, offsets, argcs, pieces, &accepted);
        records_in_all += FRAMES;
        if (code < 0 || accepted != FRAMES)
            fail("kr_send_pieces");
        for (uint64_t seen = 0; seen < FRAMES;) {
            seen += drain_all();
            if (kr_pump(ring.sender, 0) < 0)
                fail("kr_pump");
        }
    }
    free(all);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "";
    uint64_t rounds = argument(argc, argv, 2);
    if (!strcmp(path, "write"))
        write_and_drain(rounds, argument(argc, argv, 3));
    else if (!strcmp(path, "scan") || !strcmp(path, "scan-mixed"))
        scan_and_drain(!strcmp(path, "scan-mixed"), rounds);
    else if (!strcmp(path, "overflow"))
        overflow(rounds);
    else
        argument(argc, argv, 0); /* says that an argument is wrong */
    ring_remove(&ring);
    print_result(0, records_in_all, "");
    return 0;
}
