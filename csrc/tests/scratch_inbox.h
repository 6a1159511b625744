/* A ring for one test in which a sender owns the producer. */
#ifndef KR_SCRATCH_INBOX_H
#define KR_SCRATCH_INBOX_H

#include "inbox/inbox.h"
#include "scratch_ring.h"

void scratch_take_sender(struct scratch_ring *ring); /* without a thread: kr_pump() moves its overflow */
void scratch_open_sender_at(struct scratch_ring *ring, uint64_t capacity, uint64_t position); /* both roles, without a thread */
void scratch_open_sender(struct scratch_ring *ring, uint64_t capacity);
void scratch_open_inbox(struct scratch_ring *ring, uint64_t capacity); /* both roles; a thread moves the overflow */
void scratch_new_sender(struct scratch_ring *ring);                    /* no role yet */

/* Frames of one argument of `length` scratch bytes; the offsets first to last are taken in order; the overflow now. */
extern char scratch_bytes[1 << 20];
int scratch_send(struct scratch_ring *ring, uint64_t offset, uint32_t length);
void scratch_take_frames(struct scratch_ring *ring, uint64_t first, uint64_t last);
kr_overflow_info scratch_overflow(struct scratch_ring *ring);

#endif
