/* Events whose bytes have no gap between them, sent by pieces as an application sends them. */
#ifndef KR_SEND_JOINED_H
#define KR_SEND_JOINED_H

#include "kevy_ring.h"

/* `argcs[i]` lengths belong to event i. Answers as kr_send_pieces(). */
static inline int send_many(kr_sender *sender, uint64_t count, const uint8_t *kinds, const uint64_t *offsets, const uint32_t *argcs,
                            const char *joined, const uint32_t *lengths, uint64_t length_count, uint64_t *accepted)
{
    kr_piece pieces[length_count + 1];
    for (uint64_t i = 0; i < length_count; joined += lengths[i++])
        pieces[i] = (kr_piece){joined, lengths[i]};
    return kr_send_pieces(sender, count, kinds, offsets, argcs, pieces, accepted);
}

/* The code of a send of one event: the reason if the event was not taken. */
static inline int taken_or_why(int code, uint64_t accepted, uint64_t size)
{
    if (code < 0 || accepted)
        return code;
    return size > KR_LENGTH_MAX ? KR_E_TOO_LARGE : KR_E_NOMEM;
}

static inline int send_frame(kr_sender *sender, uint64_t offset, const char *joined, const uint32_t *lengths, uint32_t argc)
{
    uint64_t accepted = 0, size = 4 + 4 * (uint64_t)argc;
    for (uint32_t i = 0; i < argc; i++)
        size += lengths[i];
    int code = send_many(sender, 1, NULL, &offset, &argc, joined, lengths, argc, &accepted);
    return taken_or_why(code, accepted, size);
}

static inline int send_plain(kr_sender *sender, uint32_t kind, uint64_t offset, const char *payload, uint64_t length)
{
    const kr_piece piece = {payload, length};
    const uint32_t argc = kind == KR_KIND_SNAPSHOT_CHUNK;
    const uint8_t kinds[] = {(uint8_t)kind};
    uint64_t accepted = 0;
    int code = kr_send_pieces(sender, 1, kinds, &offset, &argc, &piece, &accepted);
    return taken_or_why(code, accepted, length);
}

#endif
