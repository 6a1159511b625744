/* Events as records: layout, one publish for many, chunks in place, refusals. */
#include <string.h>

#include "check.h"
#include "encode_frame.h"
#include "scratch_inbox.h"
#include "send_joined.h"

static void a_frame_lies_in_the_ring_as_the_layout_says(void)
{
    struct scratch_ring ring;
    const uint32_t lengths[] = {3, 0, 5};
    const uint32_t words[] = {3, 3, 3, 8};
    char encoded[256];
    scratch_open_sender(&ring, 4096);
    memset(ring.area, 0xff, 4096);
    CHECK_EQ(send_frame(ring.sender, UINT64_MAX - 1, "SETvalue", lengths, 3), KR_SEND_RING);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
    CHECK_EQ(ring.batch.frames, 1);
    CHECK_EQ(scratch_kind(&ring, 0), 4);
    CHECK_EQ(scratch_argc(&ring, 0), 3);
    CHECK_EQ(scratch_offset(&ring, 0), UINT64_MAX - 1);
    CHECK_EQ(scratch_length(&ring, 0), 24);
    CHECK(!memcmp(scratch_payload(&ring, 0), words, 16));
    CHECK(!memcmp(scratch_payload(&ring, 0) + 16, "SETvalue", 8));
    memset(encoded, 0xff, sizeof encoded);
    CHECK_EQ(encode_frame(encoded, UINT64_MAX - 1, "SETvalue", lengths, 3), 40);
    CHECK(!memcmp(encoded, ring.area, 40));
    scratch_close(&ring);
}

static void padding_is_zero_for_every_length(void)
{
    struct scratch_ring ring;
    scratch_open_sender(&ring, 4096);
    memset(ring.area, 0xff, 4096);
    for (uint32_t length = 0; length < 32; length++) {
        CHECK_EQ(send_plain(ring.sender, 2, 0, scratch_bytes, length), KR_SEND_RING);
        CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
        for (uint64_t i = length; i < ring.batch.span - 16; i++)
            CHECK_EQ(scratch_payload(&ring, 0)[i], 0);
        CHECK_EQ(scratch_release_all(&ring), 0);
    }
    scratch_close(&ring);
}

static void many_events_go_with_one_publish(void)
{
    struct scratch_ring ring;
    kr_stats stats;
    uint64_t accepted = 77;
    const uint8_t kinds[] = {1, 2, 3, 4};
    const uint64_t offsets[] = {0, 0, 9, 10};
    const uint32_t argcs[] = {0, 1, 0, 2}, lengths[] = {5, 1, 2};
    scratch_open_sender(&ring, 4096);
    CHECK_EQ(send_many(ring.sender, 4, kinds, offsets, argcs, "chunkabb", lengths, 3, &accepted), KR_SEND_RING);
    CHECK_EQ(accepted, 4);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.publishes, 1);
    CHECK_EQ(stats.events_in, 4);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 4);
    CHECK_EQ(ring.batch.frames, 1);
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_EQ(scratch_kind(&ring, i), kinds[i]);
        CHECK_EQ(scratch_offset(&ring, i), offsets[i]);
    }
    CHECK(!memcmp(scratch_payload(&ring, 1), "chunk", 5));
    CHECK(!memcmp(scratch_payload(&ring, 3) + 12, "abb", 3));
    CHECK_EQ(scratch_release_all(&ring), 0);
    CHECK_EQ(send_many(ring.sender, 0, kinds, offsets, argcs, "", lengths, 0, &accepted), KR_SEND_RING);
    CHECK_EQ(accepted, 0);
    scratch_close(&ring);
}

static void events_that_are_too_large_are_refused_whole(void)
{
    struct scratch_ring ring;
    const uint32_t huge[] = {UINT32_MAX, 5};
    scratch_open_sender(&ring, 4096);
    CHECK_EQ(send_plain(ring.sender, 2, 0, scratch_bytes, KR_LENGTH_MAX + 1ull), KR_E_TOO_LARGE);
    CHECK_EQ(send_frame(ring.sender, 1, scratch_bytes, huge, 2), KR_E_TOO_LARGE);
    CHECK_EQ(kr_chunk_commit(ring.sender, 0), KR_E_ARGUMENT);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 0);
    scratch_close(&ring);
}

static void a_chunk_is_committed_in_place_or_behind_the_overflow(void)
{
    struct scratch_ring ring;
    scratch_open_sender(&ring, 4096);
    int64_t index = kr_chunk_reserve(ring.sender, 1000);
    CHECK(index >= 0);
    memcpy(ring.area + index, "in place", 8);
    CHECK_EQ(kr_chunk_commit(ring.sender, 1001), KR_E_ARGUMENT);
    CHECK_EQ(kr_chunk_commit(ring.sender, 8), KR_SEND_RING);
    CHECK_EQ(kr_chunk_commit(ring.sender, 8), KR_E_ARGUMENT);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
    CHECK_EQ(scratch_kind(&ring, 0), 2);
    CHECK_EQ(scratch_length(&ring, 0), 8);
    CHECK(!memcmp(scratch_payload(&ring, 0), "in place", 8));
    CHECK_EQ(scratch_release_all(&ring), 0);

    index = kr_chunk_reserve(ring.sender, 1000);
    memcpy(ring.area + index, "afterwards", 10);
    CHECK_EQ(scratch_send(&ring, 7, 10), KR_SEND_OVERFLOW); /* the space after it is reserved */
    CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_AGAIN);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 0);
    CHECK_EQ(kr_chunk_commit(ring.sender, 10), KR_SEND_OVERFLOW);
    CHECK_EQ(scratch_bell_rung(ring.map->space_bell) > 0, 1); /* the pump learns of it */
    CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_DONE);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 2);
    CHECK_EQ(scratch_offset(&ring, 0), 7);
    CHECK_EQ(scratch_kind(&ring, 1), 2);
    CHECK(!memcmp(scratch_payload(&ring, 1), "afterwards", 10));
    CHECK_EQ(scratch_release_all(&ring), 0);

    CHECK(kr_chunk_reserve(ring.sender, 100) >= 0);
    CHECK_EQ(scratch_send(&ring, 8, 10), KR_SEND_OVERFLOW);
    CHECK_EQ(kr_chunk_abort(ring.sender), 0);
    CHECK_EQ(scratch_bell_rung(ring.map->space_bell) > 0, 1);
    CHECK_EQ(kr_pump(ring.sender, 0), KR_PUMP_DONE);
    scratch_take_frames(&ring, 8, 8);
    scratch_close(&ring);
}

static void a_receiver_that_is_gone_fails_every_send(void)
{
    struct scratch_ring ring;
    uint64_t accepted;
    const uint8_t kind = 4;
    const uint64_t offset = 1;
    const uint32_t argc = 1, length = 1;
    scratch_open_sender(&ring, 4096);
    while (scratch_send(&ring, 0, 1000) == KR_SEND_RING)
        ;
    kr_consumer_close(ring.consumer);
    CHECK_EQ(scratch_send(&ring, 1, 1), KR_E_PEER_CLOSED);
    CHECK_EQ(send_plain(ring.sender, 1, 0, "", 0), KR_E_PEER_CLOSED);
    CHECK_EQ(send_many(ring.sender, 1, &kind, &offset, &argc, "x", &length, 1, &accepted), KR_E_PEER_CLOSED);
    CHECK_EQ(accepted, 0);
    CHECK_EQ(kr_chunk_commit(ring.sender, 0), KR_E_PEER_CLOSED);
    CHECK_EQ(kr_pump(ring.sender, -1), KR_E_PEER_CLOSED);
    CHECK_EQ(scratch_overflow(&ring).events, 1); /* still reported as undelivered */
    kr_sender_close(ring.sender);
    CHECK_EQ(scratch_send(&ring, 1, 1), KR_E_CLOSED);
    CHECK_EQ(kr_pump(ring.sender, -1), KR_E_CLOSED);
    CHECK_EQ(scratch_overflow(&ring).events, 0);
    scratch_close(&ring);
}

static void use_inherited_sender(void *argument)
{
    struct scratch_ring *ring = argument;
    uint64_t accepted;
    uint32_t length = 0;
    kr_overflow_info overflow;
    CHECK_EQ(send_frame(ring->sender, 0, "", &length, 1), KR_E_FORKED);
    CHECK_EQ(send_plain(ring->sender, 1, 0, "", 0), KR_E_FORKED);
    CHECK_EQ(send_many(ring->sender, 0, NULL, NULL, NULL, "", NULL, 0, &accepted), KR_E_FORKED);
    CHECK_EQ(kr_chunk_reserve(ring->sender, 1), KR_E_FORKED);
    CHECK_EQ(kr_chunk_commit(ring->sender, 1), KR_E_FORKED);
    CHECK_EQ(kr_chunk_abort(ring->sender), KR_E_FORKED);
    CHECK_EQ(kr_pump(ring->sender, -1), KR_E_FORKED);
    CHECK_EQ(kr_overflow_marks(ring->sender, 2, 1), KR_E_FORKED);
    kr_overflow_read(ring->sender, &overflow);
    CHECK_EQ(overflow.events, 0);
    scratch_close(ring); /* every exit of a child does this with the handles that it inherited */
}

static void an_inherited_sender_is_refused_and_harmless(void)
{
    struct scratch_ring ring;
    struct child child;
    scratch_open_inbox(&ring, 4096);
    CHECK_EQ(scratch_send(&ring, 1, 10), KR_SEND_RING);
    child_start(&child, use_inherited_sender, &ring);
    child_end(&child);
    CHECK_EQ(scratch_send(&ring, 2, 10), KR_SEND_RING);
    scratch_take_frames(&ring, 1, 2);
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(a_frame_lies_in_the_ring_as_the_layout_says),
    CASE(padding_is_zero_for_every_length),
    CASE(many_events_go_with_one_publish),
    CASE(events_that_are_too_large_are_refused_whole),
    CASE(a_chunk_is_committed_in_place_or_behind_the_overflow),
    CASE(a_receiver_that_is_gone_fails_every_send),
    CASE(an_inherited_sender_is_refused_and_harmless),
};
CHECK_MAIN(cases)
