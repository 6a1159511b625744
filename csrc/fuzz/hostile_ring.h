/* A ring of which an input sets every byte, and the reading of an input.
 *
 * The mapping is between guards of 4 GiB, as far as any 32-bit length reaches. The bytes that a call must not touch are
 * poisoned: under AddressSanitizer a read or write of them ends the program although they are mapped. */
#ifndef KR_HOSTILE_RING_H
#define KR_HOSTILE_RING_H

#include <stddef.h>
#include <stdint.h>

#include "inbox/inbox.h"

struct hostile_ring {
    char name[32];
    kr_map *map;
    char *area;
    kr_sender *sender;
    kr_producer *producer; /* of the sender */
    kr_consumer *consumer;
};

/* The one ring of this process, made at the first call, with both roles taken. Its name is removed already. */
struct hostile_ring *hostile_ring(void);
/* Makes an empty shared-memory object, which is removed when the program ends. */
void hostile_object(char name[32]);
/* Makes it as new, but with all positions at `position`. */
void hostile_reset(struct hostile_ring *ring, uint64_t position);

/* Only `[from, from + span)` of the positions may be touched until hostile_allow(). */
void hostile_forbid_all_but(struct hostile_ring *ring, uint64_t from, uint64_t span);
/* Nothing of `[from, from + span)` may be touched until hostile_allow(). */
void hostile_forbid(struct hostile_ring *ring, uint64_t from, uint64_t span);
void hostile_allow(struct hostile_ring *ring);
int hostile_allowed(const char *at, uint64_t bytes);

/* The bytes of an input in order; zeros behind its end. */
struct input {
    const uint8_t *at, *end;
};
uint64_t input_number(struct input *input, unsigned bytes);
static inline size_t input_left(const struct input *input) { return (size_t)(input->end - input->at); }

/* A property that holds for every input. */
#define MUST(condition) ((condition) ? (void)0 : must_failed(__FILE__, __LINE__, #condition))
void must_failed(const char *file, int line, const char *what) __attribute__((noreturn));

/* Each harness: one input. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
