/* The only encoder of events: an event as a record of the ring. csrc/ring/layout.h shows the bytes.
 *
 * The caller provides kr_record_span(length) writable bytes at `at`. */
#ifndef KR_ENCODE_H
#define KR_ENCODE_H

#include "ring/ring.h"
#include "ring/short_copy.h"

/* Payload bytes of a frame of `argc` arguments of together `total` bytes. */
static inline uint64_t kr_frame_bytes(uint64_t argc, uint64_t total) { return 4 + 4 * argc + total; }

/* For a writer that writes beyond the end of the payload: clears the padding afterwards. */
static inline void kr_clear_padding(char *at, uint64_t length)
{
    uint64_t span = kr_record_span(length), padding = span - KR_RECORD_BYTES - length;
    if (span > KR_RECORD_BYTES)
        *(uint64_t *)(void *)(at + span - 8) &= UINT64_MAX >> (8 * padding);
}

/* The header of a record, and the zeros of its padding. */
static inline void kr_encode_header(char *at, uint32_t kind, uint64_t offset, uint64_t length)
{
    kr_record_pad(at, length);
    kr_record_header(at, length, kind, 0, offset);
}

/* A chunk of a snapshot, or one of its two markers. */
static inline void kr_encode_plain(char *at, uint32_t kind, uint64_t offset, const char *bytes, uint64_t length)
{
    kr_encode_header(at, kind, offset, length);
    if (length)
        memcpy(at + KR_RECORD_BYTES, bytes, length);
}

/* A frame that is being written, argument by argument. */
struct kr_frame_writer {
    uint32_t *ends; /* the end position of each argument */
    char *to;       /* the first argument byte */
    uint64_t done;  /* argument bytes written */
};

static inline struct kr_frame_writer kr_frame_open(char *at, uint64_t argc)
{
    uint32_t *words = (uint32_t *)(void *)(at + KR_RECORD_BYTES);
    words[0] = (uint32_t)argc;
    return (struct kr_frame_writer){words + 1, (char *)(words + 1 + argc), 0};
}

/* Argument `i`. The caller puts them in order. */
static inline void kr_frame_put(struct kr_frame_writer *frame, uint64_t i, const char *bytes, uint64_t length)
{
    kr_copy(frame->to + frame->done, bytes, length);
    frame->ends[i] = (uint32_t)(frame->done += length);
}

/* The same, if up to KR_COPY_OVER bytes behind both places may be touched. */
static inline void kr_frame_put_over(struct kr_frame_writer *frame, uint64_t i, const char *bytes, uint64_t length)
{
    kr_copy_over(frame->to + frame->done, bytes, length);
    frame->ends[i] = (uint32_t)(frame->done += length);
}

/* A frame of `length` payload bytes, from arguments in separate places. */
static inline void kr_encode_frame(char *at, uint64_t offset, uint64_t length, const kr_piece *arguments, uint32_t argc)
{
    kr_encode_header(at, KR_KIND_FRAME, offset, length);
    struct kr_frame_writer frame = kr_frame_open(at, argc);
    for (uint32_t i = 0; i < argc; i++)
        kr_frame_put(&frame, i, arguments[i].bytes, arguments[i].length);
}

#endif
