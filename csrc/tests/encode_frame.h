/* A frame as the core encodes it, for tests that compare bytes. */
#ifndef KR_ENCODE_FRAME_H
#define KR_ENCODE_FRAME_H

#include "inbox/encode.h"

/* `out` has room for the whole record. Returns its span. */
static inline int64_t encode_frame(char *out, uint64_t offset, const char *joined, const uint32_t *lengths, uint32_t argc)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < argc; i++)
        total += lengths[i];
    kr_encode_header(out, KR_KIND_FRAME, offset, kr_frame_bytes(argc, total));
    struct kr_frame_writer frame = kr_frame_open(out, argc);
    for (uint32_t i = 0; i < argc; joined += lengths[i++])
        kr_frame_put(&frame, i, joined, lengths[i]);
    return (int64_t)kr_record_span(kr_frame_bytes(argc, total));
}

#endif
