/* The `ingest` case, driven from C: kevy frames in memory go through kr_scan_kevy() into the ring. Another process takes
 * them as columns, with a digest of every byte. The wire is used again and again, as a receive buffer is.
 *
 *   ingest_kevy FRAMES RING_BYTES PIECE_BYTES [check]    check compares every argument with the wire */
#include <stdlib.h>

#include "ring.h"
#include "tests/encode_frame.h"

#define WIRE_FRAMES 20000
#define FIRST_OFFSET 1000000
#define MOST 4096

static struct ring ring;
static struct wire wire;
static struct meeting *meeting;
static uint64_t passes, piece_bytes;

static void produce(void *nothing)
{
    (void)nothing;
    ring_send(&ring);
    kr_scanner *scanner = kr_scanner_new();
    meet(meeting);
    for (uint64_t pass = 0; pass < passes; pass++) {
        for (uint64_t at = 0, next = FIRST_OFFSET; at < wire.length;) {
            kr_scan out;
            uint64_t left = wire.length - at, piece = left < piece_bytes ? left : piece_bytes;
            int code = kr_scan_kevy(ring.sender, scanner, wire.bytes + at, piece, next, &out);
            if (code < 0 || out.why != KR_SCAN_NEED)
                fail("kr_scan_kevy");
            if (code & KR_SEND_OVERFLOW) /* the sender is also the pump: a third thread would have no core */
                while (kr_pump(ring.sender, 1000000) == KR_PUMP_AGAIN)
                    ;
            at += out.consumed;
            next += out.frames;
        }
    }
    kr_sender_close(ring.sender);
}

/* The number behind the character at `at`. Returns the place after its CRLF. */
static const char *number_at(const char *at, uint64_t *out)
{
    char *end;
    *out = strtoull(at + 1, &end, 10);
    return end + 2;
}

/* Compares the arguments of a frame with those at `at` on the wire. Returns the next frame's place, NULL if they differ. */
static const char *same_frame(const char *at, uint64_t offset, const char *payload, uint32_t argc)
{
    const char *ends = payload + 4, *joined = payload + 4 + 4 * (uint64_t)argc;
    uint64_t said_offset, said_argc, said;
    at = number_at(at + 4, &said_offset);
    at = number_at(at, &said_argc);
    if (said_offset != offset || said_argc != argc)
        return NULL;
    for (uint32_t i = 0, begin = 0, end; i < argc; i++, begin = end) {
        memcpy(&end, ends + 4 * (uint64_t)i, 4);
        at = number_at(at, &said);
        if (said != end - begin || memcmp(at, joined + begin, said))
            return NULL;
        at += said + 2;
    }
    return at;
}

static uint64_t consume(int check, uint64_t *sum)
{
    const char *at = wire.bytes;
    uint64_t seen = 0, wrong = 0;
    ring_consume(&ring, MOST);
    meet(meeting);
    while (seen < passes * WIRE_FRAMES) {
        kr_batch batch;
        uint64_t count = ring_drain(&ring, MOST, ring.bytes / 8, &batch);
        if (!count) {
            ring_wait(&ring);
            continue;
        }
        *sum += sum_words(ring.area + batch.index, batch.span);
        for (uint64_t i = 0; check && !wrong && i < count; i++) {
            at = same_frame(at == wire.bytes + wire.length ? wire.bytes : at, ring.offsets[i], ring.area + batch.index + ring.starts[i], ring.argcs[i]);
            wrong += !at;
        }
        ring_release(&ring, &batch, count);
        seen += count;
    }
    meeting->end_ns = clock_ns();
    return wrong;
}

/* The same digest of one pass, from records that encode_frame() makes. */
static uint64_t expected_sum(void)
{
    const char *at = wire.bytes;
    static char record[4096];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < wire.frames; i++) {
        char joined[1024];
        uint64_t offset, argc, length;
        uint32_t lengths[3], total = 0;
        at = number_at(at + 4, &offset);
        at = number_at(at, &argc);
        for (int a = 0; a < 3; a++, at += length + 2) {
            at = number_at(at, &length);
            memcpy(joined + total, at, length);
            total += lengths[a] = (uint32_t)length;
        }
        sum += sum_words(record, (uint64_t)encode_frame(record, offset, joined, lengths, 3));
    }
    return sum;
}

int main(int argc, char **argv)
{
    uint64_t frames = passes = (argument(argc, argv, 1) + WIRE_FRAMES - 1) / WIRE_FRAMES, sum = 0;
    frames *= WIRE_FRAMES;
    piece_bytes = argument(argc, argv, 3);
    wire_make(&wire, WIRE_FRAMES, FIRST_OFFSET, 64, 0);
    ring_create(&ring, 0, argument(argc, argv, 2));
    meeting = shared_pages(sizeof *meeting);
    pid_t child = part(produce, NULL);
    uint64_t wrong = consume(argc > 4, &sum);
    join(child);
    ring_remove(&ring);
    if (wrong || sum != expected_sum() * passes)
        return wrong_answer("ingest: the frames that arrived are not those of the wire");
    double seconds = met_seconds(meeting);
    print_result(seconds, frames, "\"wire_bytes_per_s\": %.0f", (double)wire.length * (double)passes / seconds);
    return 0;
}
