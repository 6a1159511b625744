/* What lies in a value of each type, as a small program that reader.c runs. */
#ifndef KR_RDB_LAYOUT_H
#define KR_RDB_LAYOUT_H

#include "kevy_ring.h"

#include "kevy_ring.h"

/* The steps of a program. It is a string of these characters:
 *     s      a string                          l      a length
 *     1 4 8 g  1, 4, 8 or 16 bytes             d      a score as text: a byte with its length, or 253 to 255 alone
 *     *[ ]   a length, and the steps up to the bracket that many times
 *     m      opcodes of a module and what each announces, up to opcode 0 */
struct kr_rdb_layout {
    const char *steps; /* NULL: the type is not known */
    char in_parts;     /* the first loop has the elements of the value, and nothing lies behind it */
};

enum kr_rdb_flavour { KR_RDB_REDIS, KR_RDB_VALKEY }; /* by the magic: their type numbers collide */

struct kr_rdb_layout kr_rdb_value_layout(enum kr_rdb_flavour flavour, unsigned type);

/* Records that are no keys. */
#define KR_RDB_SLOT_IMPORT 243 /* of Valkey; in Redis: metadata of the next key */
#define KR_RDB_SLOT_INFO 244
#define KR_RDB_FUNCTION 245
#define KR_RDB_MODULE_AUX 247
#define KR_RDB_IDLE 248
#define KR_RDB_FREQUENCY 249
#define KR_RDB_AUX 250
#define KR_RDB_SIZES 251
#define KR_RDB_EXPIRES_MS 252
#define KR_RDB_EXPIRES_S 253
#define KR_RDB_DATABASE 254
#define KR_RDB_END 255

/* The steps of such a record, behind its first byte. NULL: it is none of them. */
const char *kr_rdb_record_steps(enum kr_rdb_flavour flavour, unsigned mark);

#endif
