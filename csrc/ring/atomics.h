/* The only place that names a memory order. Every operation on a shared word goes through here.
 *
 * There are no stand-alone fences. Each order belongs to the word that it orders, so that a reader can point at the pair,
 * and ThreadSanitizer sees it. */
#ifndef KR_RING_ATOMICS_H
#define KR_RING_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint64_t kr_word;
typedef _Atomic uint32_t kr_word32;

/* Relaxed: for words that their own writer reads back, and for counters, whose readers accept a stale value. */
static inline uint64_t load_relaxed(const kr_word *word) { return atomic_load_explicit((kr_word *)word, memory_order_relaxed); }
static inline void store_relaxed(kr_word *word, uint64_t value) { atomic_store_explicit(word, value, memory_order_relaxed); }
static inline uint32_t load_relaxed32(const kr_word32 *word) { return atomic_load_explicit((kr_word32 *)word, memory_order_relaxed); }
static inline void store_relaxed32(kr_word32 *word, uint32_t value) { atomic_store_explicit(word, value, memory_order_relaxed); }

/* Acquire and release: for the bytes that a position reveals. */
static inline uint64_t load_acquire(const kr_word *word) { return atomic_load_explicit((kr_word *)word, memory_order_acquire); }
static inline void store_release(kr_word *word, uint64_t value) { atomic_store_explicit(word, value, memory_order_release); }
static inline uint32_t load_acquire32(const kr_word32 *word) { return atomic_load_explicit((kr_word32 *)word, memory_order_acquire); }
static inline void store_release32(kr_word32 *word, uint32_t value) { atomic_store_explicit(word, value, memory_order_release); }

/* Sequentially consistent: for sleep and wake. Each side stores its own word and then loads the other's. The total order
 * guarantees that at least one of them sees the other's store. */
static inline uint64_t load_seq_cst(const kr_word *word) { return atomic_load_explicit((kr_word *)word, memory_order_seq_cst); }
static inline void store_seq_cst(kr_word *word, uint64_t value) { atomic_store_explicit(word, value, memory_order_seq_cst); }

/* Takes a role: acquire, so that the next holder sees all stores of the previous one. */
static inline bool compare_exchange32(kr_word32 *word, uint32_t expected, uint32_t desired)
{
    return atomic_compare_exchange_strong_explicit(word, &expected, desired, memory_order_acq_rel, memory_order_acquire);
}

/* Counts inside one process. Counting down is acquire and release: the thread that reaches zero sees all that the others
 * did. */
static inline void count_up32(kr_word32 *word) { atomic_fetch_add_explicit(word, 1, memory_order_relaxed); }
static inline uint32_t count_down32(kr_word32 *word) { return atomic_fetch_sub_explicit(word, 1, memory_order_acq_rel) - 1; }

#endif
