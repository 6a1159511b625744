/* The compact encodings of small values. Each length is checked before its bytes are used. */
#include "rdb/packed.h"

#include "rdb/coding.h"

#define LAST_BYTE 0xff

static int64_t signed_little(const unsigned char *at, unsigned bytes)
{
    unsigned unused = 64 - 8 * bytes;
    return (int64_t)(kr_rdb_little(at, (int)bytes) << unused) >> unused;
}

int kr_packed_begin(struct kr_packed *packed, int form, const unsigned char *bytes, uint64_t length)
{
    static const unsigned head_bytes[] = {[KR_LISTPACK] = 6, [KR_ZIPLIST] = 10, [KR_INTSET] = 8, [KR_ZIPMAP] = 1};
    unsigned head = head_bytes[form];
    *packed = (struct kr_packed){.at = bytes + head, .end = bytes + length, .form = form};
    if (length < head)
        return -1;
    if (form == KR_LISTPACK || form == KR_ZIPLIST)
        return kr_rdb_little(bytes, 4) == length ? 0 : -1;
    if (form == KR_ZIPMAP)
        return 0;
    uint64_t count = kr_rdb_little(bytes + 4, 4);
    packed->width = (unsigned)kr_rdb_little(bytes, 4);
    if (packed->width != 2 && packed->width != 4 && packed->width != 8)
        return -1;
    return count * packed->width == length - head ? 0 : -1;
}

static int number(struct kr_packed_item *item, int64_t value)
{
    *item = (struct kr_packed_item){.number = value};
    return 1;
}

/* An item of `length` bytes that lie `head` bytes further on. Moves behind it. */
static int bytes_of(struct kr_packed *packed, struct kr_packed_item *item, unsigned head, uint64_t length)
{
    uint64_t left = (uint64_t)(packed->end - packed->at);
    if (left < head || left - head < length)
        return -1;
    *item = (struct kr_packed_item){.bytes = packed->at + head, .length = length};
    packed->at += head + length;
    return 1;
}

/* A number of `width` bytes that lie `head` bytes further on. Moves behind it. */
static int number_of(struct kr_packed *packed, struct kr_packed_item *item, unsigned head, unsigned width)
{
    struct kr_packed_item raw;
    if (bytes_of(packed, &raw, head, width) < 0)
        return -1;
    return number(item, signed_little(raw.bytes, width));
}

/* ------------------------------------------------------------------------------------------------ a listpack */

/* Behind each item lies its size, for walks from the end, in one to five bytes of seven bits. */
static int step_over_size(struct kr_packed *packed, uint64_t size)
{
    unsigned bytes = size <= 127 ? 1 : size < 16383 ? 2 : size < 2097151 ? 3 : size < 268435455 ? 4 : 5;
    if ((uint64_t)(packed->end - packed->at) < bytes)
        return -1;
    packed->at += bytes;
    return 1;
}

static int listpack_item(struct kr_packed *packed, struct kr_packed_item *item)
{
    static const unsigned widths[] = {2, 3, 4, 8};
    const unsigned char *at = packed->at;
    uint64_t left = (uint64_t)(packed->end - at);
    unsigned first = *at;
    if (first < 0x80) {
        packed->at++;
        return number(item, first);
    }
    if (first < 0xc0)
        return bytes_of(packed, item, 1, first & 0x3f);
    if (first == 0xf0)
        return left < 5 ? -1 : bytes_of(packed, item, 5, kr_rdb_little(at + 1, 4));
    if (first >= 0xf1)
        return first > 0xf4 ? -1 : number_of(packed, item, 1, widths[first - 0xf1]);
    if (left < 2)
        return -1;
    if (first >= 0xe0)
        return bytes_of(packed, item, 2, (uint64_t)(first & 0xf) << 8 | at[1]);
    packed->at += 2;
    int64_t value = (int64_t)(first & 0x1f) << 8 | at[1]; /* 13 bits with a sign */
    return number(item, value < 1 << 12 ? value : value - (1 << 13));
}

static int next_of_listpack(struct kr_packed *packed, struct kr_packed_item *item)
{
    const unsigned char *from = packed->at;
    int answer = listpack_item(packed, item);
    return answer < 0 ? answer : step_over_size(packed, (uint64_t)(packed->at - from));
}

/* ------------------------------------------------------------------------------------------------- a ziplist */

static int next_of_ziplist(struct kr_packed *packed, struct kr_packed_item *item)
{
    unsigned before = *packed->at == 0xfe ? 5 : 1; /* the size of the item before, for walks from the end */
    uint64_t left = (uint64_t)(packed->end - packed->at);
    if (left <= before)
        return -1;
    packed->at += before;
    left -= before;
    const unsigned char *at = packed->at;
    unsigned first = *at;
    switch (first >> 6) {
    case 0:
        return bytes_of(packed, item, 1, first);
    case 1:
        return left < 2 ? -1 : bytes_of(packed, item, 2, (uint64_t)(first & 0x3f) << 8 | at[1]);
    case 2:
        return left < 5 ? -1 : bytes_of(packed, item, 5, (uint64_t)at[1] << 24 | at[2] << 16 | at[3] << 8 | at[4]);
    }
    switch (first) {
    case 0xc0:
        return number_of(packed, item, 1, 2);
    case 0xd0:
        return number_of(packed, item, 1, 4);
    case 0xe0:
        return number_of(packed, item, 1, 8);
    case 0xf0:
        return number_of(packed, item, 1, 3);
    case 0xfe:
        return number_of(packed, item, 1, 1);
    }
    if (first < 0xf1 || first > 0xfd)
        return -1;
    packed->at++;
    return number(item, (first & 0xf) - 1);
}

/* -------------------------------------------------------------------------------------------------- a zipmap */

static int next_of_zipmap(struct kr_packed *packed, struct kr_packed_item *item)
{
    uint64_t left = (uint64_t)(packed->end - packed->at), length = *packed->at;
    unsigned head = 1, unused = 0;
    if (length == 0xfe) {
        if (left < 5)
            return -1;
        length = kr_rdb_little(packed->at + 1, 4);
        head = 5;
    }
    if (packed->value_is_next) { /* a byte says how many unused bytes lie behind the value */
        if (left <= head)
            return -1;
        unused = packed->at[head++];
    }
    if (bytes_of(packed, item, head, length) < 0 || (uint64_t)(packed->end - packed->at) < unused)
        return -1;
    packed->at += unused;
    packed->value_is_next = !packed->value_is_next;
    return 1;
}

int kr_packed_next(struct kr_packed *packed, struct kr_packed_item *item)
{
    if (packed->form == KR_INTSET)
        return packed->at == packed->end ? 0 : number_of(packed, item, 0, packed->width);
    if (packed->at >= packed->end)
        return -1; /* without its last byte */
    if (*packed->at == LAST_BYTE)
        return packed->at + 1 == packed->end && !packed->value_is_next ? 0 : -1;
    return packed->form == KR_LISTPACK  ? next_of_listpack(packed, item)
           : packed->form == KR_ZIPLIST ? next_of_ziplist(packed, item)
                                        : next_of_zipmap(packed, item);
}
