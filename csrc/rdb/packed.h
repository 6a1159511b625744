/* The compact encodings of small values: listpacks, ziplists, intsets and zipmaps. Sources: listpack.c, ziplist.c, intset.c and
 * zipmap.c of Redis 7.4, whose comments describe the bytes. */
#ifndef KR_RDB_PACKED_H
#define KR_RDB_PACKED_H

#include "kevy_ring.h"

#include "kevy_ring.h"

struct kr_packed_item {
    const unsigned char *bytes; /* NULL: it is the number */
    uint64_t length;
    int64_t number;
};

struct kr_packed {
    const unsigned char *at, *end;
    enum { KR_LISTPACK, KR_ZIPLIST, KR_INTSET, KR_ZIPMAP } form;
    unsigned width;    /* of an intset's numbers */
    int value_is_next; /* of a zipmap */
};

/* Begins to read the encoding that fills `bytes`. 0, or -1: it is too short, or its own size is another one. */
int kr_packed_begin(struct kr_packed *packed, int form, const unsigned char *bytes, uint64_t length);

/* The next item. 1; 0 at the end, which is also the end of the bytes; -1: they are wrong. */
int kr_packed_next(struct kr_packed *packed, struct kr_packed_item *item);

#endif
