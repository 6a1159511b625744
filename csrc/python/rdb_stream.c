/* The value of a stream in an RDB, as an object of the class Stream. csrc/rdb/layout.c has the layout of the three versions. */
#include "python/rdb.h"

#define IS_DELETED 1      /* flags of an entry in a node */
#define HAS_SAME_FIELDS 2 /* its fields are those of the node's first entry */
#define ID_BYTES 16

struct id {
    uint64_t ms, seq;
};

static int take_id(struct kr_rdb_bytes *bytes, struct id *id)
{
    return kr_rdb_take_length(bytes, &id->ms) || kr_rdb_take_length(bytes, &id->seq);
}

/* An id as raw bytes, big-endian. */
static int id_of(const unsigned char *raw, uint64_t length, struct id *id)
{
    *id = (struct id){0, 0};
    if (length != ID_BYTES)
        return -1;
    for (int i = 0; i < ID_BYTES; i++) {
        uint64_t *half = i < 8 ? &id->ms : &id->seq;
        *half = *half << 8 | raw[i];
    }
    return 0;
}

static int take_raw_id(struct kr_rdb_bytes *bytes, struct id *id)
{
    if (bytes->end - bytes->at < ID_BYTES)
        return -1;
    bytes->at += ID_BYTES;
    return id_of(bytes->at - ID_BYTES, ID_BYTES, id);
}

static PyObject *pair_of(const struct id *id) { return Py_BuildValue("(KK)", (unsigned long long)id->ms, (unsigned long long)id->seq); }

/* Appends a new reference, and drops it. */
static int append(PyObject *list, PyObject *item)
{
    int failed = !item || PyList_Append(list, item) < 0;
    Py_XDECREF(item);
    return failed ? -1 : 0;
}

/* --------------------------------------------------------------------------------------- the entries of a node */

static int next_number(struct kr_packed *packed, int64_t *number)
{
    struct kr_packed_item item;
    if (kr_packed_next(packed, &item) <= 0 || item.bytes)
        return -1;
    *number = item.number;
    return 0;
}

/* A number of items. A negative one, or one beyond any listpack, is wrong. */
static int next_count(struct kr_packed *packed, int64_t *count)
{
    return next_number(packed, count) || *count < 0 || *count > UINT32_MAX ? -1 : 0;
}

/* A list of the next `count` items. */
static PyObject *next_items(struct kr_packed *packed, int64_t count)
{
    struct kr_packed_item item;
    PyObject *list = PyList_New(0);
    for (int64_t i = 0; list && i < count; i++)
        if (kr_packed_next(packed, &item) <= 0 || append(list, kr_rdb_item(&item)) < 0)
            Py_CLEAR(list);
    return list;
}

/* The pairs of an entry: its own fields and values in turn, or only values if the fields are the node's. */
static PyObject *pairs_of(struct kr_packed *packed, PyObject *fields)
{
    int64_t count;
    struct kr_packed_item item;
    PyObject *pairs = PyList_New(0);
    int failed = !pairs || (fields ? (count = PyList_Size(fields), 0) : next_count(packed, &count));
    for (int64_t i = 0; !failed && i < count; i++) {
        PyObject *field = fields ? Py_NewRef(PyList_GetItem(fields, (Py_ssize_t)i)) : NULL;
        if (!fields && kr_packed_next(packed, &item) > 0)
            field = kr_rdb_item(&item);
        PyObject *value = field && kr_packed_next(packed, &item) > 0 ? kr_rdb_item(&item) : NULL;
        failed = append(pairs, value ? PyTuple_Pack(2, field, value) : NULL) < 0;
        Py_XDECREF(field);
        Py_XDECREF(value);
    }
    if (failed)
        Py_CLEAR(pairs);
    return pairs;
}

/* One entry: flags, its id as distances from the node's, its pairs, and how many items that was. */
static int add_entry(PyObject *entries, struct kr_packed *packed, const struct id *first, PyObject *fields)
{
    int64_t flags, ms, seq, items;
    if (next_number(packed, &flags) || next_number(packed, &ms) || next_number(packed, &seq))
        return -1;
    PyObject *pairs = pairs_of(packed, flags & HAS_SAME_FIELDS ? fields : NULL);
    if (!pairs || next_number(packed, &items)) {
        Py_XDECREF(pairs);
        return -1;
    }
    if (flags & IS_DELETED) {
        Py_DECREF(pairs);
        return 0;
    }
    return append(entries, Py_BuildValue("(KKN)", (unsigned long long)(first->ms + (uint64_t)ms),
                                         (unsigned long long)(first->seq + (uint64_t)seq), pairs));
}

/* A node: how many entries are alive and deleted, the fields of the first one, 0, then the entries. */
static int add_node(PyObject *entries, PyObject *key, PyObject *listpack)
{
    struct kr_packed packed;
    struct id first;
    struct kr_packed_item item;
    int64_t alive, deleted, fields_count, zero;
    if (id_of((const unsigned char *)PyBytes_AsString(key), (uint64_t)PyBytes_Size(key), &first) ||
        kr_packed_begin(&packed, KR_LISTPACK, (const unsigned char *)PyBytes_AsString(listpack), (uint64_t)PyBytes_Size(listpack)) ||
        next_count(&packed, &alive) || next_count(&packed, &deleted) || next_count(&packed, &fields_count))
        return -1;
    PyObject *fields = next_items(&packed, fields_count);
    int failed = !fields || next_number(&packed, &zero);
    for (int64_t i = 0; !failed && i < alive + deleted; i++)
        failed = add_entry(entries, &packed, &first, fields) < 0;
    failed = failed || kr_packed_next(&packed, &item) != 0; /* the counts are those of the entries */
    Py_XDECREF(fields);
    return failed ? -1 : 0;
}

static int add_nodes(PyObject *entries, struct kr_rdb_bytes *bytes)
{
    uint64_t count;
    int failed = kr_rdb_take_length(bytes, &count);
    while (!failed && count--) {
        PyObject *key = kr_rdb_take_string(bytes), *listpack = key ? kr_rdb_take_string(bytes) : NULL;
        failed = !listpack || add_node(entries, key, listpack) < 0;
        Py_XDECREF(key);
        Py_XDECREF(listpack);
    }
    return failed ? -1 : 0;
}

/* ---------------------------------------------------------------------------------------------------- its groups */

/* The pending entries of a group, by id: when each was delivered, and how often. */
static PyObject *take_deliveries(struct kr_rdb_bytes *bytes)
{
    PyObject *deliveries = PyDict_New();
    uint64_t count, times;
    int failed = !deliveries || kr_rdb_take_length(bytes, &count);
    while (!failed && count--) {
        struct id id;
        int64_t at_ms;
        if (take_raw_id(bytes, &id) || kr_rdb_take_little(bytes, 8, &at_ms) || kr_rdb_take_length(bytes, &times)) {
            failed = 1;
            break;
        }
        PyObject *key = pair_of(&id), *value = Py_BuildValue("(LK)", (long long)at_ms, (unsigned long long)times);
        failed = !key || !value || PyDict_SetItem(deliveries, key, value) < 0;
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    if (failed)
        Py_CLEAR(deliveries);
    return deliveries;
}

/* The entries that are pending at a consumer, as (ms, seq, consumer, delivered at ms, deliveries). */
static int add_pending(PyObject *pending, struct kr_rdb_bytes *bytes, PyObject *name, PyObject *deliveries)
{
    uint64_t count;
    int failed = kr_rdb_take_length(bytes, &count);
    while (!failed && count--) {
        struct id id;
        PyObject *key = take_raw_id(bytes, &id) ? NULL : pair_of(&id);
        PyObject *said = key ? PyDict_GetItemWithError(deliveries, key) : NULL;
        failed = !said || append(pending, Py_BuildValue("(KKOOO)", (unsigned long long)id.ms, (unsigned long long)id.seq, name,
                                                        PyTuple_GetItem(said, 0), PyTuple_GetItem(said, 1))) < 0;
        Py_XDECREF(key);
    }
    return failed ? -1 : 0;
}

static int add_consumers(PyObject *consumers, PyObject *pending, struct kr_rdb_bytes *bytes, PyObject *deliveries, int version)
{
    uint64_t count;
    int failed = kr_rdb_take_length(bytes, &count);
    while (!failed && count--) {
        int64_t seen_ms, active_ms;
        PyObject *name = kr_rdb_take_string(bytes);
        failed = !name || kr_rdb_take_little(bytes, 8, &seen_ms) || (version >= 3 && kr_rdb_take_little(bytes, 8, &active_ms)) ||
                 append(consumers, Py_BuildValue("(OL)", name, (long long)seen_ms)) < 0 || add_pending(pending, bytes, name, deliveries) < 0;
        Py_XDECREF(name);
    }
    return failed ? -1 : 0;
}

static PyObject *take_group(kr_state *state, struct kr_rdb_bytes *bytes, int version)
{
    struct id last;
    uint64_t entries_read;
    PyObject *name = kr_rdb_take_string(bytes), *consumers = PyList_New(0), *pending = PyList_New(0), *deliveries = NULL, *group = NULL;
    if (name && consumers && pending && !take_id(bytes, &last) && (version < 2 || !kr_rdb_take_length(bytes, &entries_read)))
        deliveries = take_deliveries(bytes);
    if (deliveries && !add_consumers(consumers, pending, bytes, deliveries, version))
        group = PyObject_CallFunction(state->stream_group, "ONOO", name, pair_of(&last), consumers, pending);
    Py_XDECREF(name);
    Py_XDECREF(consumers);
    Py_XDECREF(pending);
    Py_XDECREF(deliveries);
    return group;
}

static int add_groups(PyObject *groups, kr_state *state, struct kr_rdb_bytes *bytes, int version)
{
    uint64_t count;
    int failed = kr_rdb_take_length(bytes, &count);
    while (!failed && count--)
        failed = append(groups, take_group(state, bytes, version)) < 0;
    return failed ? -1 : 0;
}

PyObject *kr_rdb_stream(kr_state *state, unsigned type, struct kr_rdb_bytes *bytes)
{
    int version = type == 15 ? 1 : type == 19 ? 2 : 3;
    uint64_t length = 0, added = 0;
    struct id last, first, deleted = {0, 0};
    PyObject *entries = PyList_New(0), *groups = PyList_New(0), *stream = NULL;
    int failed = !entries || !groups || add_nodes(entries, bytes) < 0 || kr_rdb_take_length(bytes, &length) || take_id(bytes, &last);
    if (!failed && version > 1)
        failed = take_id(bytes, &first) || take_id(bytes, &deleted) || kr_rdb_take_length(bytes, &added);
    if (version == 1)
        added = length; /* as a server of version 7 takes it */
    if (!failed && !add_groups(groups, state, bytes, version))
        stream = PyObject_CallFunction(state->stream, "NNKOO", pair_of(&last), pair_of(&deleted), (unsigned long long)added, entries, groups);
    Py_XDECREF(entries);
    Py_XDECREF(groups);
    return stream;
}
