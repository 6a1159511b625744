/* The layouts of values and records. Sources: rdb.h and rdb.c of Redis 7.4 and of Valkey 9.0, as documented there; the numbers from 22
 * on by the magic. A stream has: nodes; its length and last id; from version 2 on its first id, the highest deleted id and
 * the entries ever added; then groups, each with pending entries (id, time, deliveries) and consumers (name, times, ids). */
#include "rdb/layout.h"

#include <stddef.h>

#define PENDING "*[g8l]"
#define STREAM_1 "*[ss]lll*[sll" PENDING "*[s8*[g]]]"
#define STREAM_2 "*[ss]llllllll*[slll" PENDING "*[s8*[g]]]"
#define STREAM_3 "*[ss]llllllll*[slll" PENDING "*[s88*[g]]]"

static const struct kr_rdb_layout common[] = {
    [0] = {"s", 0},          /* string */
    [1] = {"*[s]", 1},       /* list */
    [2] = {"*[s]", 1},       /* set */
    [3] = {"*[sd]", 1},      /* sorted set, scores as text */
    [4] = {"*[ss]", 1},      /* hash */
    [5] = {"*[s8]", 1},      /* sorted set, scores as doubles */
    [7] = {"lm", 0},         /* value of a module: its id, then opcodes */
    [9] = {"s", 0},          /* hash: zipmap */
    [10] = {"s", 0},         /* list: ziplist */
    [11] = {"s", 0},         /* set: intset */
    [12] = {"s", 0},         /* sorted set: ziplist */
    [13] = {"s", 0},         /* hash: ziplist */
    [14] = {"*[s]", 1},      /* list: ziplists */
    [15] = {STREAM_1, 0},    /* stream */
    [16] = {"s", 0},         /* hash: listpack */
    [17] = {"s", 0},         /* sorted set: listpack */
    [18] = {"*[ls]", 1},     /* list: plain nodes and listpacks */
    [19] = {STREAM_2, 0},
    [20] = {"s", 0},         /* set: listpack */
    [21] = {STREAM_3, 0},
};

static const struct kr_rdb_layout redis[] = {
    [22 - 22] = {"*[lss]", 1},  /* hash with expiries, release candidates of 7.4 */
    [23 - 22] = {"s", 0},       /* the same as a listpack */
    [24 - 22] = {"8*[lss]", 1}, /* hash with expiries: the earliest, then each as a distance from it */
    [25 - 22] = {"8s", 0},      /* the same as a listpack */
};

static const struct kr_rdb_layout valkey_22 = {"*[ss8]", 1}; /* hash with expiries, each absolute */

struct kr_rdb_layout kr_rdb_value_layout(enum kr_rdb_flavour flavour, unsigned type)
{
    static const struct kr_rdb_layout unknown = {NULL, 0};
    if (type < sizeof common / sizeof *common)
        return common[type];
    if (flavour == KR_RDB_VALKEY)
        return type == 22 ? valkey_22 : unknown;
    return type - 22 < sizeof redis / sizeof *redis ? redis[type - 22] : unknown;
}

const char *kr_rdb_record_steps(enum kr_rdb_flavour flavour, unsigned mark)
{
    switch (mark) {
    case KR_RDB_SLOT_IMPORT:
        return flavour == KR_RDB_VALKEY ? "s*[ll]" : "*[4m]"; /* job and ranges of slots; or classes of metadata */
    case KR_RDB_SLOT_INFO:
        return "lll";
    case KR_RDB_FUNCTION:
        return "s";
    case KR_RDB_MODULE_AUX:
        return "lm";
    case KR_RDB_IDLE:
    case KR_RDB_DATABASE:
        return "l";
    case KR_RDB_FREQUENCY:
        return "1";
    case KR_RDB_AUX:
        return "ss";
    case KR_RDB_SIZES:
        return "ll";
    case KR_RDB_EXPIRES_MS:
        return "8";
    case KR_RDB_EXPIRES_S:
        return "4";
    default:
        return NULL;
    }
}
