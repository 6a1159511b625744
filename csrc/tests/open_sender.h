/* A sender without a thread: its caller moves the overflow with kr_pump(). */
#ifndef KR_OPEN_SENDER_H
#define KR_OPEN_SENDER_H

#include "inbox/inbox.h"

/* NULL, and `why`, if the role is refused. */
static inline kr_sender *kr_sender_open(kr_map *map, char *area, kr_failure *why)
{
    kr_sender *sender = kr_sender_new(map, area);
    if (sender)
        sender->pump.by_hand = 1;
    if (!kr_sender_take(sender, why))
        return sender;
    kr_sender_free(sender);
    return NULL;
}

#endif
