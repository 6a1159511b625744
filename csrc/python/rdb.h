/* Objects of the values of an RDB. */
#ifndef KR_PYTHON_RDB_H
#define KR_PYTHON_RDB_H

#include "python/calls.h"
#include "rdb/coding.h"
#include "rdb/packed.h"

/* Bytes of a value that are not decoded yet. */
struct kr_rdb_bytes {
    const unsigned char *at, *end;
};

/* Each returns NULL or -1 without an exception if the bytes are wrong. */
PyObject *kr_rdb_take_string(struct kr_rdb_bytes *bytes);
int kr_rdb_take_length(struct kr_rdb_bytes *bytes, uint64_t *length);
int kr_rdb_take_little(struct kr_rdb_bytes *bytes, int width, int64_t *number);
PyObject *kr_rdb_item(const struct kr_packed_item *item);

/* The types of keys, as the TYPE command says. KR_RDB_OPAQUE: a module's, which is not decoded. */
enum kr_rdb_kind { KR_RDB_A_STRING, KR_RDB_A_LIST, KR_RDB_A_SET, KR_RDB_A_ZSET, KR_RDB_A_HASH, KR_RDB_A_STREAM, KR_RDB_OPAQUE };

/* rdb_values.c. A value as a Python object; None if it is opaque. `expiries`: of the fields of a hash: a dict, or NULL if there are
 * none. */
PyObject *kr_rdb_value(kr_state *state, unsigned type, int is_valkey, struct kr_rdb_bytes bytes, int *kind, PyObject **expiries);

/* rdb_stream.c */
PyObject *kr_rdb_stream(kr_state *state, unsigned type, struct kr_rdb_bytes *bytes);

#endif
