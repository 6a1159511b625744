/* The `ingest` case, driven from C: kevy frames in memory -> kr_scan_kevy -> ring -> columns and a digest of every byte
 * in another process.
 *
 *   ingest_kevy FRAMES RING_BYTES PIECE_BYTES [check]
 *
 * The wire is a run of frames that is read again and again, as a receive buffer is. `check` decodes every argument in
 * the consumer and compares it with what the producer's frames must hold. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "halves.h"
#include "tests/encode_frame.h"
#include "tests/open_sender.h"
#include "wire.h"

#define WIRE_FRAMES 20000
#define FIRST_OFFSET 1000000
#define MOST 4096

struct job {
    struct halves ring;
    struct wire wire;
    uint64_t passes, piece;
    int check;
};

struct result {
    uint64_t frames, sum, wrong;
};

static void produce(void *argument)
{
    struct job *job = argument;
    kr_sender *sender = halves_sender(&job->ring);
    kr_scanner *scanner = kr_scanner_new();
    halves_meet(&job->ring);
    for (uint64_t pass = 0; pass < job->passes; pass++) {
        uint64_t at = 0, next = FIRST_OFFSET;
        while (at < job->wire.length) {
            kr_scan out;
            uint64_t left = job->wire.length - at, piece = left < job->piece ? left : job->piece;
            int code = kr_scan_kevy(sender, scanner, job->wire.bytes + at, piece, next, &out);
            if (code < 0 || out.why != KR_SCAN_NEED)
                fail("kr_scan_kevy");
            if (code & KR_SEND_OVERFLOW) /* the one who sends is also the pump: a third thread would have no core */
                while (kr_pump(sender, 1000000) == KR_PUMP_AGAIN)
                    ;
            at += out.consumed;
            next += out.frames;
        }
    }
    kr_sender_close(sender);
}

static uint64_t words(const char *at, uint64_t bytes)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < bytes; i += 8)
        sum += word_at(at + i);
    return sum;
}

/* The number behind the character at `at`, and past its CRLF. */
static const char *number_at(const char *at, uint64_t *out)
{
    char *end;
    *out = strtoull(at + 1, &end, 10);
    return end + 2;
}

/* Compares the arguments of a frame with the bytes of the wire, frame by frame. */
static int differs(const struct job *job, const char **wire, uint64_t offset, const char *payload, uint32_t argc)
{
    const char *at = *wire, *ends = payload + 4, *argument = payload + 4 + 4 * (uint64_t)argc;
    uint64_t said;
    uint32_t begin = 0, end;
    if (at == job->wire.bytes + job->wire.length)
        at = job->wire.bytes;
    at = number_at(at + 4, &said);
    if (said != offset)
        return 1;
    at = number_at(at, &said);
    if (said != argc)
        return 1;
    for (uint32_t i = 0; i < argc; i++, begin = end) {
        memcpy(&end, ends + 4 * (uint64_t)i, 4);
        at = number_at(at, &said);
        if (said != end - begin || memcmp(at, argument + begin, said))
            return 1;
        at += said + 2;
    }
    *wire = at;
    return 0;
}

static void consume(struct job *job, struct result *to)
{
    struct kr_batch_columns { uint64_t *offsets, *starts; uint32_t *lengths, *argcs; } at;
    char *columns = malloc(25 * MOST), *area;
    kr_consumer *consumer = halves_consumer(&job->ring, &area);
    uint64_t frames = job->passes * WIRE_FRAMES;
    const char *wire = job->wire.bytes;
    at.offsets = (uint64_t *)(void *)columns;
    at.starts = at.offsets + MOST;
    at.lengths = (uint32_t *)(void *)(at.starts + MOST);
    at.argcs = at.lengths + MOST;
    halves_meet(&job->ring);
    while (to->frames < frames) {
        kr_batch batch;
        int64_t count = kr_consumer_drain(consumer, MOST, job->ring.ring_bytes / 8, columns, &batch);
        if (count < 0)
            fail("kr_consumer_drain");
        if (!count) {
            if (kr_consumer_wait(consumer, 1000000000, 50000) < 0)
                fail("kr_consumer_wait");
            continue;
        }
        to->sum += words(area + batch.index, batch.span);
        for (int64_t i = 0; job->check && i < count; i++)
            to->wrong += differs(job, &wire, at.offsets[i], area + batch.index + at.starts[i], at.argcs[i]);
        if (kr_consumer_release(consumer, batch.position + batch.span, (uint64_t)count, 1) < 0)
            fail("kr_consumer_release");
        to->frames += (uint64_t)count;
    }
    halves_finish(&job->ring);
    kr_consumer_close(consumer);
}

/* The same digest of one pass, from records that encode_frame makes. */
static uint64_t expected_sum(const struct wire *wire)
{
    const char *at = wire->bytes;
    static char record[4096];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < wire->frames; i++) {
        char joined[1024];
        uint64_t offset, argc, length;
        uint32_t lengths[3], total = 0;
        at = number_at(at + 4, &offset);
        at = number_at(at, &argc);
        for (int a = 0; a < 3; a++) {
            at = number_at(at, &length);
            memcpy(joined + total, at, length);
            at += length + 2;
            total += lengths[a] = (uint32_t)length;
        }
        int64_t span = encode_frame(record, offset, joined, lengths, 3);
        sum += words(record, (uint64_t)span);
    }
    return sum;
}

int main(int argc, char **argv)
{
    struct job job = {0};
    struct result result = {0};
    if (argc < 4) {
        fprintf(stderr, "usage: %s FRAMES RING_BYTES PIECE_BYTES [check]\n", argv[0]);
        return 2;
    }
    job.passes = (strtoull(argv[1], NULL, 10) + WIRE_FRAMES - 1) / WIRE_FRAMES;
    job.piece = strtoull(argv[3], NULL, 10);
    job.check = argc > 4;
    wire_make(&job.wire, WIRE_FRAMES, FIRST_OFFSET, 64, 0);
    halves_open(&job.ring, strtoull(argv[2], NULL, 10));
    halves_part(&job.ring, produce, &job);
    consume(&job, &result);
    double seconds = halves_join(&job.ring);
    uint64_t frames = job.passes * WIRE_FRAMES;
    if (result.frames != frames || result.wrong || result.sum != expected_sum(&job.wire) * job.passes) {
        fprintf(stderr, "ingest: %llu frames, %llu of them wrong\n", (unsigned long long)result.frames, (unsigned long long)result.wrong);
        return 3;
    }
    printf("{\"seconds\": %.6f, \"work\": %llu, \"figures\": {\"wire_bytes_per_s\": %.0f}, \"records_per_s\": %.0f}\n", seconds,
           (unsigned long long)frames, (double)job.wire.length * (double)job.passes / seconds, (double)frames / seconds);
    return 0;
}
