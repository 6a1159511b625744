/* How an RDB codes lengths and strings. Each function reads from `at` on and never beyond `end`. */
#ifndef KR_RDB_CODING_H
#define KR_RDB_CODING_H

#include "kevy_ring.h"

#include "kevy_ring.h"

/* The head of a string: how many of its bytes follow, and how they code it. */
struct kr_rdb_string {
    uint64_t stored; /* bytes that follow the head */
    uint64_t plain;  /* bytes of the string itself; of an integer at most KR_RDB_INTEGER_BYTES */
    enum { KR_RDB_PLAIN, KR_RDB_INTEGER, KR_RDB_LZF } code;
};

#define KR_RDB_INTEGER_BYTES 11  /* "-2147483648" */
#define KR_RDB_STRING_HEAD_MAX 19 /* a mark and two lengths of nine bytes */

/* A length. Returns the bytes that it takes, 0 if `end` comes before its end, or -1: a string stands in its place. */
int kr_rdb_length(const unsigned char *at, const unsigned char *end, uint64_t *length);

/* The head of a string. Returns as kr_rdb_length(); -1: its code is not known. */
int kr_rdb_string_head(const unsigned char *at, const unsigned char *end, struct kr_rdb_string *string);

/* Writes the string that `string` describes, and whose stored bytes are at `from`, to `to`, which has room for string->plain bytes.
 * Returns its length, or -1: the compressed bytes are wrong. */
int64_t kr_rdb_string_copy(const struct kr_rdb_string *string, const unsigned char *from, char *to);

/* Writes a number in decimal digits. Returns how many bytes that is, at most KR_RDB_DIGITS_MAX. */
#define KR_RDB_DIGITS_MAX 20
int kr_rdb_digits(int64_t number, char *to);

static inline uint64_t kr_rdb_little(const unsigned char *at, int bytes)
{
    uint64_t number = 0;
    for (int i = bytes; i > 0; i--)
        number = number << 8 | at[i - 1];
    return number;
}

#endif
