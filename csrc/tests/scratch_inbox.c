/* Rings for tests in which a sender owns the producer. */
#include "check.h"
#include "open_ring.h"
#include "open_sender.h"
#include "scratch_inbox.h"
#include "send_joined.h"

static void use(struct scratch_ring *ring, kr_sender *sender)
{
    CHECK(sender);
    ring->sender = sender;
    ring->producer = kr_sender_producer(sender);
    ring->free_sender = kr_sender_free;
}

void scratch_new_sender(struct scratch_ring *ring) { use(ring, kr_sender_new(ring->map, ring->area)); }

void scratch_take_sender(struct scratch_ring *ring)
{
    kr_failure why = {0};
    use(ring, kr_sender_open(ring->map, ring->area, &why));
    CHECK_EQ(why.code, 0);
}

void scratch_open_sender_at(struct scratch_ring *ring, uint64_t capacity, uint64_t position)
{
    scratch_create(ring, capacity);
    kr_map_preset(ring->map, position);
    scratch_take_sender(ring);
    scratch_take_consumer(ring);
}

void scratch_open_sender(struct scratch_ring *ring, uint64_t capacity) { scratch_open_sender_at(ring, capacity, 0); }

void scratch_open_inbox(struct scratch_ring *ring, uint64_t capacity)
{
    kr_failure why = {0};
    scratch_create(ring, capacity);
    scratch_new_sender(ring);
    CHECK_EQ(kr_sender_take(ring->sender, &why), 0);
    scratch_take_consumer(ring);
}

char scratch_bytes[1 << 20];

int scratch_send(struct scratch_ring *ring, uint64_t offset, uint32_t length)
{
    return send_frame(ring->sender, offset, scratch_bytes, &length, 1);
}

kr_overflow_info scratch_overflow(struct scratch_ring *ring)
{
    kr_overflow_info info;
    kr_overflow_read(ring->sender, &info);
    return info;
}

void scratch_take_frames(struct scratch_ring *ring, uint64_t first, uint64_t last)
{
    while (first <= last) {
        int64_t got = scratch_drain(ring, 64, UINT64_MAX);
        CHECK(got > 0);
        for (int64_t i = 0; i < got; i++) {
            CHECK_EQ(scratch_kind(ring, (uint64_t)i), KR_KIND_FRAME);
            CHECK_EQ(scratch_offset(ring, (uint64_t)i), first++);
        }
        CHECK_EQ(scratch_release_all(ring), 0);
    }
    CHECK_EQ(first, last + 1);
}
