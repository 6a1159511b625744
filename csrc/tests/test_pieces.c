/* Records from separate pieces: the same bytes as from joined ones, and the same refusals. */
#include <string.h>

#include "check.h"
#include "encode_frame.h"
#include "scratch_inbox.h"

static kr_piece piece(const char *bytes, uint64_t length) { return (kr_piece){bytes, length}; }

static void a_frame_of_pieces_is_the_frame_of_the_joined_ones(void)
{
    struct scratch_ring ring;
    const uint32_t lengths[] = {3, 0, 5};
    const kr_piece pieces[] = {piece("SET", 3), piece("", 0), piece("value", 5)};
    const uint64_t offset = UINT64_MAX - 1;
    const uint32_t argc = 3;
    uint64_t accepted = 0;
    char encoded[256];
    scratch_open_sender(&ring, 4096);
    memset(ring.area, 0xff, 4096);
    CHECK_EQ(kr_send_pieces(ring.sender, 1, NULL, &offset, &argc, pieces, &accepted), KR_SEND_RING);
    CHECK_EQ(accepted, 1);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 1);
    CHECK_EQ(encode_frame(encoded, offset, "SETvalue", lengths, 3), 40);
    CHECK(!memcmp(encoded, ring.area, 40));
    scratch_close(&ring);
}

static void events_of_every_kind_go_by_pieces(void)
{
    struct scratch_ring ring;
    kr_snapshots_sent sent;
    const uint8_t kinds[] = {KR_KIND_SNAPSHOT_BEGIN, KR_KIND_SNAPSHOT_CHUNK, KR_KIND_SNAPSHOT_END, KR_KIND_FRAME};
    const uint64_t offsets[] = {0, 0, 7, 8};
    const uint32_t argcs[] = {0, 1, 0, 2};
    const kr_piece pieces[] = {piece("chunk", 5), piece("a", 1), piece("bb", 2)};
    uint64_t accepted = 0;
    scratch_open_sender(&ring, 4096);
    CHECK_EQ(kr_send_pieces(ring.sender, 4, kinds, offsets, argcs, pieces, &accepted), KR_SEND_RING);
    CHECK_EQ(accepted, 4);
    CHECK_EQ(kr_sender_snapshots(ring.sender, &sent), 0);
    CHECK(sent.ended == 1 && !sent.is_open);
    CHECK_EQ(scratch_drain(&ring, 10, UINT64_MAX), 4);
    for (uint64_t i = 0; i < 4; i++) {
        CHECK_EQ(scratch_kind(&ring, i), kinds[i]);
        CHECK_EQ(scratch_offset(&ring, i), offsets[i]);
    }
    CHECK(scratch_length(&ring, 1) == 5 && !memcmp(scratch_payload(&ring, 1), "chunk", 5));
    CHECK(scratch_argc(&ring, 3) == 2 && !memcmp(scratch_payload(&ring, 3) + 12, "abb", 3));
    scratch_close(&ring);
}

static void records_fit_until_one_does_not(void)
{
    struct scratch_ring ring;
    kr_piece pieces[100];
    kr_stats stats;
    scratch_open_sender(&ring, 4096);
    for (int i = 0; i < 100; i++)
        pieces[i] = piece(scratch_bytes + i, (uint64_t)i);
    int64_t done = kr_producer_write_pieces(ring.producer, pieces, 100);
    CHECK(done > 0 && done < 100);
    kr_map_stats(ring.map, &stats);
    CHECK_EQ(stats.publishes, 1);
    CHECK_EQ(stats.full_hits, 1);
    CHECK_EQ(scratch_drain(&ring, 200, UINT64_MAX), done);
    for (int64_t i = 0; i < done; i++) {
        CHECK_EQ(scratch_length(&ring, (uint64_t)i), (uint32_t)i);
        CHECK(!memcmp(scratch_payload(&ring, (uint64_t)i), scratch_bytes + i, (size_t)i));
        for (uint64_t at = (uint64_t)i; at & 7; at++)
            CHECK_EQ(scratch_payload(&ring, (uint64_t)i)[at], 0);
    }
    CHECK_EQ(scratch_release_all(&ring), 0);
    pieces[0].length = 4096;
    CHECK_EQ(kr_producer_write_pieces(ring.producer, pieces, 1), KR_E_TOO_LARGE);
    pieces[0].length = KR_LENGTH_MAX + 1ull;
    CHECK_EQ(kr_producer_write_pieces(ring.producer, pieces, 1), KR_E_TOO_LARGE);
    CHECK_EQ(kr_producer_write_pieces(ring.producer, pieces, 0), 0);
    CHECK(kr_chunk_reserve(ring.sender, 10) >= 0);
    pieces[0].length = 1;
    CHECK_EQ(kr_producer_write_pieces(ring.producer, pieces, 1), KR_E_BUSY);
    scratch_close(&ring);
}

static void what_does_not_fit_goes_behind_the_ring(void)
{
    struct scratch_ring ring;
    kr_piece pieces[8];
    uint64_t offsets[8], accepted = 0;
    uint32_t argcs[8];
    scratch_open_sender(&ring, 4096);
    for (int i = 0; i < 8; i++) {
        pieces[i] = piece(scratch_bytes, 1000);
        offsets[i] = (uint64_t)i;
        argcs[i] = 1;
    }
    CHECK_EQ(kr_send_pieces(ring.sender, 8, NULL, offsets, argcs, pieces, &accepted), KR_SEND_OVERFLOW);
    CHECK_EQ(accepted, 8);
    kr_overflow_info left = scratch_overflow(&ring);
    CHECK(left.events > 0 && left.events < 8);
    pieces[0].length = KR_LENGTH_MAX;
    CHECK(kr_send_pieces(ring.sender, 1, NULL, offsets, argcs, pieces, &accepted) >= 0);
    CHECK_EQ(accepted, 0);
    scratch_close(&ring);
}

static void a_consumer_that_is_gone_is_told(void)
{
    struct scratch_ring ring;
    const kr_piece pieces[] = {piece("x", 1)};
    const uint64_t offset = 1;
    const uint32_t argc = 1;
    uint64_t accepted = 7;
    scratch_open_sender(&ring, 4096);
    kr_consumer_close(ring.consumer);
    CHECK_EQ(kr_send_pieces(ring.sender, 1, NULL, &offset, &argc, pieces, &accepted), KR_E_PEER_CLOSED);
    CHECK_EQ(accepted, 0);
    CHECK_EQ(kr_producer_write_pieces(ring.producer, pieces, 1), KR_E_PEER_CLOSED);
    scratch_close(&ring);
}

static const struct check_case cases[] = {
    CASE(a_frame_of_pieces_is_the_frame_of_the_joined_ones),
    CASE(events_of_every_kind_go_by_pieces),
    CASE(records_fit_until_one_does_not),
    CASE(what_does_not_fit_goes_behind_the_ring),
    CASE(a_consumer_that_is_gone_is_told),
};
CHECK_MAIN(cases)
