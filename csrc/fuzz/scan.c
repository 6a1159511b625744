/* The RESP scanner: for any bytes it reads only those bytes, and its result is the same for any cuts.
 *
 *   input   u8 dialect and padding, u8 first offset, u8 after which pieces to drain, 6 * u16 cuts, the bytes of the wire */
#include <stdlib.h>
#include <string.h>

#include "hostile_ring.h"
#include "inbox/decode.h"

#define CUTS 6
#define PADDING 1300u /* behind the wire, so that plain_frame() also reads the last frame */
#define ROWS 256
#define WIRE_MAX 65536u

/* The whole result of a scan. */
struct verdict {
    uint64_t consumed, frames, last_offset, stopped_at, events, digest;
    int why;
};

struct cut_wire {
    const uint8_t *wire;
    size_t size, cuts[CUTS + 1];
    uint64_t offset;
    int kevy;
};

static kr_scanner *scanner;

static void note(struct verdict *verdict, const void *bytes, uint64_t count)
{
    const uint8_t *at = bytes;
    for (uint64_t i = 0; i < count; i++)
        verdict->digest = (verdict->digest ^ at[i]) * 0x100000001b3;
}

static void note_batch(struct hostile_ring *ring, const kr_batch *batch, char *memory, struct verdict *verdict)
{
    struct kr_columns columns = kr_split_columns(memory, ROWS);
    for (uint32_t i = 0; i < batch->count; i++) {
        int is_first = !batch->fragment || (batch->flags & KR_FLAG_FIRST);
        MUST(columns.kinds[i] == 4);
        if (is_first)
            note(verdict, &columns.offsets[i], 8);
        note(verdict, ring->area + batch->index + columns.starts[i], columns.lengths[i]);
        verdict->events += (uint64_t)is_first;
    }
    if (batch->fragment)
        return;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct kr_frame_reader frame;
        const char *argument;
        uint32_t length, argc = columns.argcs[i];
        MUST(argc && kr_frame_read(&frame, ring->area + batch->index + columns.starts[i], columns.lengths[i], argc));
        for (uint32_t a = 0; a < argc; a++)
            MUST(kr_frame_next(&frame, &argument, &length));
        MUST(frame.done == frame.total);
    }
}

static void drain_all(struct hostile_ring *ring, struct verdict *verdict)
{
    static char columns[25 * ROWS] __attribute__((aligned(16)));
    kr_batch batch;
    for (;;) {
        int64_t count = kr_consumer_drain(ring->consumer, ROWS, UINT64_MAX, columns, &batch);
        MUST(count >= 0);
        if (count) {
            note_batch(ring, &batch, columns, verdict);
            MUST(!kr_consumer_release(ring->consumer, batch.position + batch.span, (uint64_t)count, 1));
        } else if (!ring->sender->overflow.events) {
            return;
        }
        MUST(kr_pump(ring->sender, 0) >= 0);
    }
}

static int scan_once(struct hostile_ring *ring, const struct cut_wire *wire, size_t from, size_t to, struct verdict *verdict)
{
    kr_scan out;
    size_t length = to - from;
    char *bytes = malloc(length ? length : 1);
    memcpy(bytes, wire->wire + from, length);
    int code = wire->kevy ? kr_scan_kevy(ring->sender, scanner, bytes, length, wire->offset + verdict->frames, &out)
                          : kr_scan_redis(ring->sender, scanner, bytes, length, wire->offset + from, &out);
    free(bytes);
    MUST(code >= 0 && out.consumed <= length && out.stopped_at <= length && out.consumed <= out.stopped_at);
    MUST(out.why == KR_SCAN_NEED || out.why == KR_SCAN_OTHER || (wire->kevy && out.why == KR_SCAN_GAP));
    verdict->stopped_at = from + out.stopped_at;
    verdict->consumed = from + out.consumed;
    verdict->frames += out.frames;
    verdict->why = out.why;
    if (out.frames)
        verdict->last_offset = out.last_offset;
    return out.why == KR_SCAN_NEED;
}

/* `drains`: bit i says whether everything is drained after piece i. */
static struct verdict scan_in_pieces(const struct cut_wire *wire, unsigned pieces, unsigned drains)
{
    struct hostile_ring *ring = hostile_ring();
    struct verdict verdict = {.digest = 0xcbf29ce484222325};
    hostile_reset(ring, 0xfffffffffffffff8 - 64);
    kr_scanner_reset(scanner);
    for (unsigned i = 0; i < pieces; i++) {
        int goes_on = scan_once(ring, wire, verdict.consumed, wire->cuts[i], &verdict);
        if (drains >> i & 1)
            drain_all(ring, &verdict);
        if (!goes_on)
            break;
    }
    drain_all(ring, &verdict);
    MUST(verdict.events == verdict.frames);
    return verdict;
}

static int smaller(const void *left, const void *right)
{
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    return a < b ? -1 : a > b;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint64_t offsets[8] = {0, 1, 9, 98, 999999, (uint64_t)INT64_MAX - 3, (uint64_t)INT64_MAX, 5};
    static uint8_t padded[WIRE_MAX + PADDING];
    struct input input = {bytes, bytes + size};
    struct cut_wire wire = {.wire = padded}, whole;
    unsigned choice = (unsigned)input_number(&input, 1);
    wire.kevy = choice & 1;
    wire.offset = offsets[input_number(&input, 1) % 8];
    unsigned drains = (unsigned)input_number(&input, 1);
    for (unsigned i = 0; i < CUTS; i++)
        wire.cuts[i] = (size_t)input_number(&input, 2);
    wire.size = input_left(&input) < WIRE_MAX ? input_left(&input) : WIRE_MAX;
    memcpy(padded, input.at, wire.size);
    if (choice & 2) {
        memset(padded + wire.size, 'x', PADDING);
        wire.size += PADDING;
    }
    for (unsigned i = 0; i < CUTS; i++)
        wire.cuts[i] = wire.cuts[i] % (wire.size + 1);
    qsort(wire.cuts, CUTS, sizeof *wire.cuts, smaller);
    wire.cuts[CUTS] = wire.size;
    whole = wire;
    whole.cuts[0] = wire.size;
    scanner = scanner ? scanner : kr_scanner_new();
    MUST(scanner);
    struct verdict once = scan_in_pieces(&whole, 1, 0), cut = scan_in_pieces(&wire, CUTS + 1, drains);
    MUST(once.consumed == cut.consumed && once.frames == cut.frames && once.why == cut.why);
    MUST(once.last_offset == cut.last_offset && once.stopped_at == cut.stopped_at);
    MUST(once.events == cut.events && once.digest == cut.digest);
    return 0;
}
