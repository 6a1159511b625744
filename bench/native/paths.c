/* One path of the core, alone, by one thread: counted under callgrind by bench/gate.py, or timed.
 *
 *   paths write BYTES | drain BYTES     records of that size, 256 per write_many
 *   paths scan | scan-mixed | ingest-drain   kevy frames of 3 arguments (SET, 16-byte key, 64-byte value)
 *   paths append | move                 frames into the overflow; the overflow into the ring */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "one_side.h"
#include "inbox/inbox.h"
#include "wire.h"

#define RING_BYTES ((uint64_t)1 << 20)
#define BATCH 256
#define PIECE_BYTES 262144 /* of the wire, as the runner receives it */

static uint64_t timed_ns, timed_records;

#define TIMED(RECORDS, CALL)                  \
    do {                                      \
        uint64_t begin_ns = clock_ns();       \
        CALL;                                 \
        timed_ns += clock_ns() - begin_ns;    \
        timed_records += (uint64_t)(RECORDS); \
    } while (0)

static void write_and_drain(int timing_write, uint64_t size, uint64_t rounds)
{
    struct one_side both;
    uint32_t lengths[BATCH];
    uint64_t batch = size * BATCH < RING_BYTES / 2 ? BATCH : RING_BYTES / 2 / (size + 16);
    char *joined = malloc(size * batch);
    int64_t taken = 0;
    memset(joined, 'x', size * batch);
    for (uint64_t i = 0; i < batch; i++)
        lengths[i] = (uint32_t)size;
    one_side_open(&both, RING_BYTES, BATCH);
    for (uint64_t i = 0; i < rounds; i++) {
        if (timing_write) {
            TIMED(batch, taken = kr_producer_write_many(both.producer, joined, batch * size, lengths, batch));
            one_side_drain(&both, NULL);
        } else {
            taken = kr_producer_write_many(both.producer, joined, batch * size, lengths, batch);
            TIMED(batch, one_side_drain(&both, NULL));
        }
        if (taken != (int64_t)batch)
            fail("a batch did not fit");
    }
    one_side_close(&both);
    free(joined);
}

static void scan_and_drain(int timing_scan, int mixed, uint64_t rounds)
{
    struct one_side both;
    struct wire wire;
    kr_scanner *scanner = kr_scanner_new();
    wire_make(&wire, 20000, 1000000, 64, mixed);
    one_side_open(&both, RING_BYTES, BATCH);
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t at = 0, next = wire.first;
        while (at < wire.length) {
            kr_scan out;
            uint64_t piece = wire.length - at < PIECE_BYTES ? wire.length - at : PIECE_BYTES, frames = 0;
            int code;
            uint64_t begin_ns = clock_ns();
            code = kr_scan_kevy(both.sender, scanner, wire.bytes + at, piece, next, &out);
            uint64_t middle_ns = clock_ns();
            frames = one_side_drain(&both, NULL);
            uint64_t end_ns = clock_ns();
            timed_ns += timing_scan ? middle_ns - begin_ns : end_ns - middle_ns;
            timed_records += frames;
            if (code != KR_SEND_RING || frames != out.frames || !frames)
                fail("a piece did not fit");
            at += out.consumed;
            next += out.frames;
        }
    }
    one_side_close(&both);
    kr_scanner_free(scanner);
    free(wire.bytes);
}

static void overflow(int timing_append, uint64_t rounds)
{
    enum { FRAMES = 8192 };
    struct one_side both;
    const char *joined = "SETkey:000000123456the value of it, of sixty-four bytes, as in the other cases of.";
    static uint32_t lengths[3 * FRAMES], argcs[FRAMES];
    static uint64_t offsets[FRAMES];
    static uint8_t kinds[FRAMES];
    char *all = malloc(83 * FRAMES);
    uint64_t accepted;
    for (int i = 0; i < FRAMES; i++) {
        memcpy(all + 83 * i, joined, strlen(joined));
        memcpy(lengths + 3 * i, (uint32_t[]){3, 16, 64}, 12);
        argcs[i] = 3;
        offsets[i] = (uint64_t)i;
        kinds[i] = 4;
    }
    one_side_open(&both, 131072, BATCH); /* it holds a seventh of the frames; the others overflow */
    for (uint64_t round = 0; round < rounds; round++) {
        int code;
        uint64_t begin_ns = clock_ns();
        code = kr_send_many(both.sender, FRAMES, kinds, offsets, argcs, all, 83 * FRAMES, lengths, 3 * FRAMES, &accepted);
        if (timing_append)
            timed_ns += clock_ns() - begin_ns;
        timed_records += FRAMES;
        if (code < 0 || accepted != FRAMES)
            fail("kr_send_many");
        uint64_t got = 0;
        while (got < FRAMES) {
            got += one_side_drain(&both, NULL);
            begin_ns = clock_ns();
            code = kr_pump(both.sender, 0);
            if (!timing_append)
                timed_ns += clock_ns() - begin_ns;
            if (code < 0)
                fail("kr_pump");
        }
    }
    one_side_close(&both);
    free(all);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "";
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 0, size = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    if (rounds && size && (!strcmp(path, "write") || !strcmp(path, "drain")))
        write_and_drain(path[0] == 'w', size, rounds);
    else if (rounds && !strncmp(path, "scan", 4))
        scan_and_drain(1, !strcmp(path, "scan-mixed"), rounds);
    else if (rounds && !strcmp(path, "ingest-drain"))
        scan_and_drain(0, 0, rounds);
    else if (rounds && (!strcmp(path, "append") || !strcmp(path, "move")))
        overflow(path[0] == 'a', rounds);
    else {
        fprintf(stderr, "usage: %s write|drain|scan|scan-mixed|ingest-drain|append|move ROUNDS [RECORD_BYTES]\n", argv[0]);
        return 2;
    }
    printf("{\"path\": \"%s\", \"records\": %llu, \"ns_per_record\": %.2f}\n", path, (unsigned long long)timed_records,
           (double)timed_ns / (double)timed_records);
    return 0;
}
