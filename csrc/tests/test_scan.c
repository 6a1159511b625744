/* Runs of frames from the wire: whole, cut anywhere, and always in memory that ends with the bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "scratch_inbox.h"

#define ARGS_MAX 9

static char *wire;      /* a stream */
static uint64_t length; /* of it */
static char *events;    /* its events: u64 offset, u32 argc, lengths, bytes */
static uint64_t seed;

static uint64_t below(uint64_t limit) { return check_below(&seed, limit); }

static void put(const char *text, uint64_t number, const char *after)
{
    length += (uint64_t)sprintf(wire + length, "%s%llu%s", text, (unsigned long long)number, after);
}

/* A stream of `frames` frames from `offset` on. Redis: the offset is that of the byte after the command. */
static void make_stream(uint64_t frames, uint64_t offset, int kevy)
{
    char *event = events;
    length = 0;
    for (uint64_t i = 0; i < frames; i++) {
        uint32_t argc = 1 + (uint32_t)below(below(4) ? 4 : ARGS_MAX), lengths[ARGS_MAX];
        char *head = event;
        event += 12 + 4 * argc;
        if (kevy)
            put("*2\r\n:", offset + i, "\r\n");
        put("*", argc, "\r\n");
        for (uint32_t a = 0; a < argc; a++) {
            lengths[a] = (uint32_t)below(below(20) ? 40 : below(5) ? 400 : 6000);
            put("$", lengths[a], "\r\n");
            for (uint32_t b = 0; b < lengths[a]; b++)
                *event++ = wire[length++] = (char)below(256);
            length += (uint64_t)sprintf(wire + length, "\r\n");
        }
        uint64_t own = kevy ? offset + i : offset + length;
        memcpy(head, &own, 8);
        memcpy(head + 8, &argc, 4);
        memcpy(head + 12, lengths, 4 * argc);
    }
}

/* Takes the events that have arrived and compares them with `events`. */
static const char *take(struct scratch_ring *ring, const char *event)
{
    while (scratch_drain(ring, 64, UINT64_MAX) > 0) {
        for (uint64_t i = 0; i < ring->batch.count; i++) {
            const char *payload = scratch_payload(ring, i);
            uint64_t offset, bytes = 0;
            uint32_t argc, end;
            memcpy(&offset, event, 8);
            memcpy(&argc, event + 8, 4);
            CHECK_EQ(scratch_offset(ring, i), offset);
            CHECK_EQ(scratch_argc(ring, i), argc);
            for (uint32_t a = 0; a < argc; a++) {
                uint32_t one;
                memcpy(&one, event + 12 + 4 * a, 4);
                bytes += one;
                memcpy(&end, payload + 4 + 4 * a, 4);
                CHECK_EQ(end, bytes);
            }
            event += 12 + 4 * argc;
            CHECK_EQ(scratch_length(ring, i), 4 + 4 * argc + bytes);
            CHECK(!memcmp(payload + 4 + 4 * argc, event, bytes));
            for (uint64_t pad = scratch_length(ring, i); pad % 8; pad++)
                CHECK_EQ(payload[pad], 0);
            event += bytes;
        }
        CHECK_EQ(scratch_release_all(ring), 0);
    }
    return event;
}

/* The stream in pieces. The bytes that a scan leaves come again before the next piece, as in a receive buffer. */
static void pass_in_pieces(uint64_t capacity, uint64_t frames, uint64_t offset, int kevy, uint64_t most)
{
    struct scratch_ring ring;
    kr_scanner *scanner = kr_scanner_new();
    const char *event = events;
    uint64_t consumed = 0, given = 0, next = offset, taken = 0;
    kr_scan scan;
    CHECK(scanner);
    scratch_open_sender(&ring, capacity);
    while (consumed < length) {
        given += 1 + below(most);
        given = given < length ? given : length;
        char *piece = malloc(given - consumed);
        memcpy(piece, wire + consumed, given - consumed);
        int code = kevy ? kr_scan_kevy(ring.sender, scanner, piece, given - consumed, next, &scan)
                        : kr_scan_redis(ring.sender, scanner, piece, given - consumed, offset + consumed, &scan);
        free(piece);
        CHECK(code >= 0);
        CHECK_EQ(scan.why, KR_SCAN_NEED);
        CHECK(scan.consumed <= given - consumed);
        consumed += scan.consumed;
        taken += scan.frames;
        next += scan.frames;
        event = take(&ring, event);
        while (code & KR_SEND_OVERFLOW && (code = kr_pump(ring.sender, 0)) != KR_PUMP_DONE) {
            event = take(&ring, event);
            code = KR_SEND_OVERFLOW;
        }
        event = take(&ring, event);
    }
    CHECK_EQ(taken, frames);
    kr_scanner_free(scanner);
    scratch_close(&ring);
    scratch_remove_all();
}

static void streams_in_pieces(int kevy)
{
    wire = malloc(16 << 20);
    events = malloc(16 << 20);
    CHECK(wire && events);
    for (uint64_t round = 0; round < check_rounds(12); round++) {
        static const uint64_t firsts[] = {0, 7, 95, 995, 9999999990ull, INT64_MAX - 500};
        seed = round + 40 * (uint64_t)kevy;
        make_stream(300, firsts[round % 6], kevy);
        pass_in_pieces(1 << 20, 300, firsts[round % 6], kevy, round % 3 ? 3000 : 40);
        pass_in_pieces(1 << 16, 300, firsts[round % 6], kevy, 100000);
    }
    free(wire);
    free(events);
}

static void kevy_streams_pass_however_they_are_cut(void) { streams_in_pieces(1); }
static void redis_streams_pass_however_they_are_cut(void) { streams_in_pieces(0); }

static void what_is_no_plain_frame_is_left_to_the_protocol(void)
{
    static const struct {
        const char *text;
        int kevy, why;
    } wires[] = {
        {"*2\r\n:5\r\n*1\r\n$1\r\na\r\n", 1, KR_SCAN_GAP},   {"*2\r\n:007\r\n*1\r\n$1\r\na\r\n", 1, KR_SCAN_OTHER},
        {"*2\r\n:-7\r\n*1\r\n$1\r\na\r\n", 1, KR_SCAN_OTHER}, {"*2\r\n:7\r\n*0\r\n", 1, KR_SCAN_OTHER},
        {"*3\r\n:7\r\n*1\r\n$1\r\na\r\n", 1, KR_SCAN_OTHER},  {"+OK\r\n", 1, KR_SCAN_OTHER},
        {"*2\r\n:7\r\n*1\r\n$1\r\nab\r\n", 1, KR_SCAN_OTHER}, {"*2\r\n:7\r\n*1\r\n$-1\r\n", 1, KR_SCAN_OTHER},
        {"*2\r\n:7\r\n*1\r\n$01\r\na\r\n", 1, KR_SCAN_OTHER}, {"*2\r\n:99999999999999999999\r\n", 1, KR_SCAN_OTHER},
        {"*2\r\n:7\r\n*1048577\r\n", 1, KR_SCAN_OTHER},       {"*2\r\n:7\r\n*1\r\n$536870913\r\n", 1, KR_SCAN_OTHER},
        {"*2\r\n:7\n*1\r\n$1\r\na\r\n", 1, KR_SCAN_OTHER},    {"*1\r\n$4\r\nPING\r\n", 0, KR_SCAN_OTHER},
        {"*2\r\n$6\r\nselect\r\n$1\r\n0\r\n", 0, KR_SCAN_OTHER}, {"*3\r\n$8\r\nReplConf\r\n$1\r\na\r\n$1\r\nb\r\n", 0, KR_SCAN_OTHER},
        {"\r\n", 0, KR_SCAN_OTHER},                           {"$5\r\nabcde\r\n", 0, KR_SCAN_OTHER},
        {"*1\r\n$4\r\nPIN", 0, KR_SCAN_NEED},                 {"*2\r\n:7\r\n*1048576\r\n$5", 1, KR_SCAN_NEED},
        {"", 0, KR_SCAN_NEED},
    };
    for (size_t i = 0; i < sizeof wires / sizeof wires[0]; i++)
        for (int frame_before = 0; frame_before < 2; frame_before++) {
            struct scratch_ring ring;
            kr_scanner *scanner = kr_scanner_new();
            kr_scan scan;
            char text[256];
            const char *before = wires[i].kevy ? "*2\r\n:6\r\n*1\r\n$2\r\nok\r\n" : "*1\r\n$2\r\nok\r\n";
            uint64_t skip = frame_before ? strlen(before) : 0;
            snprintf(text, sizeof text, "%s%s", frame_before ? before : "", wires[i].text);
            uint64_t size = strlen(text);
            char *exact = malloc(size + !size);
            memcpy(exact, text, size);
            scratch_open_sender(&ring, 4096);
            int code = wires[i].kevy ? kr_scan_kevy(ring.sender, scanner, exact, size, frame_before ? 6 : 7, &scan)
                                     : kr_scan_redis(ring.sender, scanner, exact, size, 0, &scan);
            CHECK_EQ(code, KR_SEND_RING);
            CHECK_EQ(scan.why, wires[i].why);
            CHECK_EQ(scan.frames, frame_before);
            CHECK_EQ(scan.consumed, skip);
            CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), frame_before);
            free(exact);
            kr_scanner_free(scanner);
            scratch_close(&ring);
            scratch_remove_all();
        }
}

static void fewer_bytes_than_before_are_not_read_past(void)
{
    struct scratch_ring ring;
    kr_scanner *scanner = kr_scanner_new();
    kr_scan scan;
    const char *text = "*2\r\n$3\r\nSET\r\n$9\r\nabc";
    scratch_open_sender(&ring, 4096);
    CHECK_EQ(kr_scan_redis(ring.sender, scanner, text, strlen(text), 0, &scan), KR_SEND_RING);
    for (uint64_t size = 1; size < strlen(text); size++) {
        char *exact = malloc(size);
        memcpy(exact, text, size);
        CHECK_EQ(kr_scan_redis(ring.sender, scanner, exact, size, 0, &scan), KR_SEND_RING);
        CHECK_EQ(scan.why, KR_SCAN_NEED);
        free(exact);
    }
    kr_scanner_free(scanner);
    scratch_close(&ring);
}

static void a_scan_obeys_the_role(void)
{
    struct scratch_ring ring;
    kr_scanner *scanner = kr_scanner_new();
    kr_scan scan;
    const char *text = "*1\r\n$2\r\nok\r\n";
    scratch_open_sender(&ring, 4096);
    kr_consumer_close(ring.consumer);
    CHECK_EQ(kr_scan_redis(ring.sender, scanner, text, strlen(text), 0, &scan), KR_E_PEER_CLOSED);
    CHECK_EQ(scan.frames, 0);
    CHECK_EQ(scan.consumed, 0);
    kr_sender_close(ring.sender);
    CHECK_EQ(kr_scan_redis(ring.sender, scanner, text, strlen(text), 0, &scan), KR_E_CLOSED);
    kr_scanner_free(scanner);
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(kevy_streams_pass_however_they_are_cut),
    CASE(redis_streams_pass_however_they_are_cut),
    CASE(what_is_no_plain_frame_is_left_to_the_protocol),
    CASE(fewer_bytes_than_before_are_not_read_past),
    CASE(a_scan_obeys_the_role),
};
CHECK_MAIN(cases)
