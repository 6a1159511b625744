/* New and taken in one, for programs that are no application: the tests, the fuzzers and the benchmarks. */
#ifndef KR_OPEN_ROLES_H
#define KR_OPEN_ROLES_H

#include "kevy_ring.h"

/* NULL, and `why`, when the role was not to be had. */
static inline kr_producer *kr_producer_open(kr_map *map, char *area, kr_failure *why)
{
    kr_producer *producer = kr_producer_new(map, area);
    if (!kr_producer_take(producer, why))
        return producer;
    kr_producer_free(producer);
    return NULL;
}

static inline kr_consumer *kr_consumer_open(kr_map *map, char *area, kr_failure *why)
{
    kr_consumer *consumer = kr_consumer_new(map, area);
    if (!kr_consumer_take(consumer, why))
        return consumer;
    kr_consumer_free(consumer);
    return NULL;
}

#endif
