/* Lengths and strings of an RDB. */
#include "rdb/coding.h"

#include <string.h>

#define EXPANDS_MAX 88 /* three compressed bytes make at most 264 */

static uint64_t big(const unsigned char *at, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++)
        number = number << 8 | at[i];
    return number;
}

int kr_rdb_length(const unsigned char *at, const unsigned char *end, uint64_t *length)
{
    if (at >= end)
        return 0;
    unsigned first = *at;
    int bytes;
    if (first < 0x40) {
        *length = first;
        return 1;
    }
    if (first >= 0x80 && first != 0x80 && first != 0x81)
        return -1;
    bytes = first < 0x80 ? 2 : first == 0x80 ? 5 : 9;
    if (end - at < bytes)
        return 0;
    *length = bytes == 2 ? (uint64_t)(first & 0x3f) << 8 | at[1] : big(at + 1, bytes - 1);
    return bytes;
}

int kr_rdb_string_head(const unsigned char *at, const unsigned char *end, struct kr_rdb_string *string)
{
    if (at >= end)
        return 0;
    if (*at < 0xc0) {
        string->code = KR_RDB_PLAIN;
        int bytes = kr_rdb_length(at, end, &string->stored);
        string->plain = string->stored;
        return bytes;
    }
    if (*at <= 0xc2) {
        string->code = KR_RDB_INTEGER;
        string->stored = 1u << (*at & 3);
        string->plain = KR_RDB_INTEGER_BYTES;
        return 1;
    }
    if (*at != 0xc3)
        return -1;
    string->code = KR_RDB_LZF;
    int stored = kr_rdb_length(at + 1, end, &string->stored);
    if (stored <= 0)
        return stored;
    int plain = kr_rdb_length(at + 1 + stored, end, &string->plain);
    if (plain > 0 && string->plain / EXPANDS_MAX > string->stored)
        return -1; /* no memory is asked for what the bytes cannot hold */
    return plain <= 0 ? plain : 1 + stored + plain;
}

/* A control byte below 32 announces that many literal bytes and one more. Any other one is a copy of bytes already written: its
 * upper three bits are the length minus two (7: the next byte adds to it), its lower five and the next byte the distance
 * minus one. Source: the description of the LZF format, https://github.com/ning/compress/wiki/LZFFormat */
static int64_t decompress(const unsigned char *from, uint64_t stored, char *to, uint64_t plain)
{
    const unsigned char *end = from + stored;
    char *out = to, *limit = to + plain;
    while (from < end) {
        uint64_t count = *from++;
        if (count < 32) {
            count++;
            if ((uint64_t)(end - from) < count || (uint64_t)(limit - out) < count)
                return -1;
            memcpy(out, from, count);
            from += count;
            out += count;
            continue;
        }
        uint64_t distance = (count & 31) << 8;
        count >>= 5;
        if (count == 7 && from < end)
            count += *from++;
        if (from >= end)
            return -1;
        distance += *from++ + 1u;
        count += 2;
        if ((uint64_t)(out - to) < distance || (uint64_t)(limit - out) < count)
            return -1;
        if (distance >= count) {
            memcpy(out, out - distance, count);
            out += count;
        } else {
            for (; count; count--, out++) /* the copy repeats what it writes */
                *out = *(out - distance);
        }
    }
    return out == limit ? (int64_t)plain : -1;
}

int kr_rdb_digits(int64_t number, char *to)
{
    char reversed[KR_RDB_DIGITS_MAX];
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    int count = 0, length = number < 0;
    if (number < 0)
        *to = '-';
    do {
        reversed[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    while (count)
        to[length++] = reversed[--count];
    return length;
}

int64_t kr_rdb_string_copy(const struct kr_rdb_string *string, const unsigned char *from, char *to)
{
    switch (string->code) {
    case KR_RDB_PLAIN:
        memcpy(to, from, string->plain);
        return (int64_t)string->plain;
    case KR_RDB_INTEGER: {
        int bits = 8 * (int)string->stored;
        int64_t number = (int64_t)(kr_rdb_little(from, (int)string->stored) << (64 - bits)) >> (64 - bits);
        return kr_rdb_digits(number, to);
    }
    default:
        return decompress(from, string->stored, to, string->plain);
    }
}
