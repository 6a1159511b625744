/* The walk over a key, a value or another record: see layout.h for the steps. */
#ifndef KR_RDB_WALK_H
#define KR_RDB_WALK_H

#include "rdb/reader.h"

/* Begins a walk at reader->at. `in_parts`: the elements of the first loop are counted. */
void kr_rdb_walk_begin(struct kr_rdb *reader, const char *steps, int in_parts);

/* Continues it over the bytes that have come. Returns 1 at its end, 0 if it needs more bytes, or an error. */
int kr_rdb_walk(struct kr_rdb *reader);

#endif
