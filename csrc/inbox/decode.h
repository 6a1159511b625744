/* The only reader of the arguments of a frame. csrc/ring/layout.h shows the bytes.
 *
 * The end positions are a claim by another process, which can still change them after the drain has checked the record.
 * So each one is read once, and it is bounded by the length that the columns remember. */
#ifndef KR_DECODE_H
#define KR_DECODE_H

#include <stdint.h>

/* A frame that is being read, argument by argument. */
struct kr_frame_reader {
    const volatile uint32_t *ends; /* the end position of the next argument */
    const char *from;              /* the first byte of the next argument */
    uint32_t done, total;          /* argument bytes read; of all arguments */
};

/* 0: the payload is shorter than its end positions. A drain refuses such a frame, unless it comes in fragments. */
static inline int kr_frame_read(struct kr_frame_reader *frame, const char *payload, uint32_t length, uint32_t argc)
{
    uint64_t head = 4 + 4 * (uint64_t)argc;
    if (head > length)
        return 0;
    *frame = (struct kr_frame_reader){(const uint32_t *)(const void *)(payload + 4), payload + head, 0, length - (uint32_t)head};
    return 1;
}

/* The next argument. 0: its end position does not rise, or is beyond the payload. */
static inline int kr_frame_next(struct kr_frame_reader *frame, const char **argument, uint32_t *length)
{
    uint32_t end = *frame->ends++;
    if (end < frame->done || end > frame->total)
        return 0;
    *argument = frame->from;
    *length = end - frame->done;
    frame->from += *length;
    frame->done = end;
    return 1;
}

/* Argument `i` of the frame that `frame` has just begun to read; `i` is below its number of arguments. 0: as kr_frame_next(). */
static inline int kr_frame_at(const struct kr_frame_reader *frame, uint32_t i, const char **argument, uint32_t *length)
{
    uint32_t begin = i ? frame->ends[i - 1] : 0, end = frame->ends[i];
    if (end < begin || end > frame->total)
        return 0;
    *argument = frame->from + begin;
    *length = end - begin;
    return 1;
}

#endif
