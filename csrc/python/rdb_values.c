/* The values of an RDB as Python objects. */
#include <math.h>
#include <string.h>

#include "python/rdb.h"

/* ------------------------------------------------------------------------------------------------ strings, numbers */

PyObject *kr_rdb_take_string(struct kr_rdb_bytes *bytes)
{
    struct kr_rdb_string string;
    char digits[KR_RDB_INTEGER_BYTES];
    int head = kr_rdb_string_head(bytes->at, bytes->end, &string);
    if (head <= 0 || (uint64_t)(bytes->end - bytes->at) - (uint64_t)head < string.stored)
        return NULL;
    const unsigned char *from = bytes->at + head;
    bytes->at = from + string.stored;
    if (string.code == KR_RDB_PLAIN)
        return PyBytes_FromStringAndSize((const char *)from, (Py_ssize_t)string.plain);
    if (string.code == KR_RDB_INTEGER)
        return PyBytes_FromStringAndSize(digits, (Py_ssize_t)kr_rdb_string_copy(&string, from, digits));
    PyObject *plain = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)string.plain);
    if (plain && kr_rdb_string_copy(&string, from, PyBytes_AsString(plain)) < 0)
        Py_CLEAR(plain);
    return plain;
}

int kr_rdb_take_length(struct kr_rdb_bytes *bytes, uint64_t *length)
{
    int taken = kr_rdb_length(bytes->at, bytes->end, length);
    if (taken <= 0)
        return -1;
    bytes->at += taken;
    return 0;
}

int kr_rdb_take_little(struct kr_rdb_bytes *bytes, int width, int64_t *number)
{
    if (bytes->end - bytes->at < width)
        return -1;
    *number = (int64_t)kr_rdb_little(bytes->at, width);
    bytes->at += width;
    return 0;
}

PyObject *kr_rdb_item(const struct kr_packed_item *item)
{
    char digits[KR_RDB_DIGITS_MAX];
    if (item->bytes)
        return PyBytes_FromStringAndSize((const char *)item->bytes, (Py_ssize_t)item->length);
    return PyBytes_FromStringAndSize(digits, kr_rdb_digits(item->number, digits));
}

/* A score that is written as text. */
static PyObject *score_of_text(const char *text, uint64_t length)
{
    char copy[256];
    if (length >= sizeof copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = 0;
    double score = PyOS_string_to_double(copy, NULL, NULL);
    if (score == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return NULL;
    }
    return PyFloat_FromDouble(score);
}

static PyObject *score_of_item(const struct kr_packed_item *item)
{
    return item->bytes ? score_of_text((const char *)item->bytes, item->length) : PyFloat_FromDouble((double)item->number);
}

/* A score of type 3: a byte with the length of its text, or a byte that stands for it. */
static PyObject *take_text_score(struct kr_rdb_bytes *bytes)
{
    static const double others[] = {NAN, INFINITY, -INFINITY};
    if (bytes->at == bytes->end)
        return NULL;
    unsigned length = *bytes->at++;
    if (length >= 253)
        return PyFloat_FromDouble(others[length - 253]);
    if (bytes->end - bytes->at < (int)length)
        return NULL;
    bytes->at += length;
    return score_of_text((const char *)bytes->at - length, length);
}

static PyObject *take_double(struct kr_rdb_bytes *bytes)
{
    int64_t bits;
    double score;
    if (kr_rdb_take_little(bytes, 8, &bits))
        return NULL;
    memcpy(&score, &bits, sizeof score);
    return PyFloat_FromDouble(score);
}

/* ------------------------------------------------------------------------------------------------- collections */

/* Adds `item` to a list or a set, or `item: value` to a dict; drops both. 0, or -1. NULL for what could not be made. */
static int add(PyObject *to, PyObject *item, PyObject *value)
{
    int failed = -1;
    if (item && PyDict_Check(to))
        failed = value ? PyDict_SetItem(to, item, value) : -1;
    else if (item)
        failed = PyList_Check(to) ? PyList_Append(to, item) : PySet_Add(to, item);
    Py_XDECREF(item);
    Py_XDECREF(value);
    return failed;
}

/* Adds all items of a packed string: to a list, to a set, or in pairs to a dict. `scores`: the second of a pair is a score. */
static int add_packed(PyObject *to, int form, PyObject *string, int scores)
{
    struct kr_packed packed;
    struct kr_packed_item item, second;
    int more = string ? kr_packed_begin(&packed, form, (const unsigned char *)PyBytes_AsString(string), (uint64_t)PyBytes_Size(string)) : -1;
    while (!more && (more = kr_packed_next(&packed, &item)) > 0) {
        int has_value = PyDict_Check(to);
        if (has_value && kr_packed_next(&packed, &second) <= 0)
            return -1;
        PyObject *value = !has_value ? NULL : scores ? score_of_item(&second) : kr_rdb_item(&second);
        more = add(to, kr_rdb_item(&item), value);
    }
    return more;
}

static PyObject *packed_value(PyObject *to, int form, struct kr_rdb_bytes *bytes, int scores)
{
    PyObject *string = to ? kr_rdb_take_string(bytes) : NULL;
    if (to && add_packed(to, form, string, scores) < 0)
        Py_CLEAR(to);
    Py_XDECREF(string);
    return to;
}

enum second { NONE, STRING, TEXT_SCORE, DOUBLE };

/* A length, and that many strings, with what lies behind each. */
static PyObject *counted_value(PyObject *to, struct kr_rdb_bytes *bytes, enum second second)
{
    uint64_t count;
    int failed = !to || kr_rdb_take_length(bytes, &count);
    while (!failed && count--) {
        PyObject *item = kr_rdb_take_string(bytes), *value = NULL;
        if (item && second != NONE)
            value = second == STRING ? kr_rdb_take_string(bytes) : second == DOUBLE ? take_double(bytes) : take_text_score(bytes);
        failed = add(to, item, value) < 0;
    }
    if (failed)
        Py_CLEAR(to);
    return to;
}

/* A list of ziplists (type 14), or of nodes that are plain or listpacks (type 18). */
static PyObject *quicklist(struct kr_rdb_bytes *bytes, int has_forms)
{
    PyObject *list = PyList_New(0);
    uint64_t count, form = 2;
    int failed = !list || kr_rdb_take_length(bytes, &count);
    while (!failed && count--) {
        if (has_forms && (kr_rdb_take_length(bytes, &form) || form < 1 || form > 2)) {
            failed = 1;
            break;
        }
        PyObject *node = kr_rdb_take_string(bytes);
        if (form == 1) {
            failed = add(list, node, NULL) < 0;
        } else {
            failed = add_packed(list, has_forms ? KR_LISTPACK : KR_ZIPLIST, node, 0) < 0;
            Py_XDECREF(node);
        }
    }
    if (failed)
        Py_CLEAR(list);
    return list;
}

/* ------------------------------------------------------------------------------------- hashes whose fields expire */

/* Notes when a field expires, if it does. Makes the dict at the first one. */
static int note_expiry(PyObject **expiries, PyObject *field, int64_t at_ms)
{
    if (!*expiries && !(*expiries = PyDict_New()))
        return -1;
    PyObject *at = PyLong_FromLongLong(at_ms);
    int failed = !at || PyDict_SetItem(*expiries, field, at) < 0;
    Py_XDECREF(at);
    return failed ? -1 : 0;
}

/* Types 22 and 24 of Redis: a distance from the earliest expiry (or the expiry itself), then field and value. Type 22 of Valkey: field,
 * value, then the expiry. */
static PyObject *hash_with_expiries(struct kr_rdb_bytes *bytes, unsigned type, int is_valkey, PyObject **expiries)
{
    PyObject *hash = PyDict_New();
    int64_t base = 0, at_ms = -1;
    uint64_t count, distance = 0;
    int failed = !hash || (type == 24 && kr_rdb_take_little(bytes, 8, &base)) || kr_rdb_take_length(bytes, &count);
    while (!failed && count--) {
        if (!is_valkey && kr_rdb_take_length(bytes, &distance)) {
            failed = 1;
            break;
        }
        PyObject *field = kr_rdb_take_string(bytes), *value = field ? kr_rdb_take_string(bytes) : NULL;
        failed = !value || (is_valkey && kr_rdb_take_little(bytes, 8, &at_ms));
        if (!is_valkey)
            at_ms = !distance ? -1 : type == 24 ? (int64_t)((uint64_t)base + distance - 1) : (int64_t)distance;
        failed = failed || (at_ms >= 0 && note_expiry(expiries, field, at_ms) < 0) || PyDict_SetItem(hash, field, value) < 0;
        Py_XDECREF(field);
        Py_XDECREF(value);
    }
    if (failed)
        Py_CLEAR(hash);
    return hash;
}

/* Types 23 and 25: a listpack of field, value and expiry, 0 if there is none. */
static int add_triples(PyObject *hash, PyObject *string, PyObject **expiries)
{
    struct kr_packed packed;
    struct kr_packed_item items[3];
    int more = kr_packed_begin(&packed, KR_LISTPACK, (const unsigned char *)PyBytes_AsString(string), (uint64_t)PyBytes_Size(string));
    while (!more && (more = kr_packed_next(&packed, items)) > 0) {
        if (kr_packed_next(&packed, items + 1) <= 0 || kr_packed_next(&packed, items + 2) <= 0 || items[2].bytes)
            return -1;
        PyObject *field = kr_rdb_item(items);
        int failed = !field || (items[2].number > 0 && note_expiry(expiries, field, items[2].number) < 0);
        more = failed ? -1 : add(hash, Py_NewRef(field), kr_rdb_item(items + 1));
        Py_XDECREF(field);
    }
    return more;
}

static PyObject *listpack_with_expiries(struct kr_rdb_bytes *bytes, unsigned type, PyObject **expiries)
{
    int64_t earliest;
    PyObject *hash = PyDict_New();
    PyObject *string = hash && (type == 23 || !kr_rdb_take_little(bytes, 8, &earliest)) ? kr_rdb_take_string(bytes) : NULL;
    if (hash && (!string || add_triples(hash, string, expiries) < 0))
        Py_CLEAR(hash);
    Py_XDECREF(string);
    return hash;
}

/* -------------------------------------------------------------------------------------------------- one value */

static PyObject *decode(kr_state *state, unsigned type, int is_valkey, struct kr_rdb_bytes *bytes, PyObject **expiries)
{
    switch (type) {
    case 0:
        return kr_rdb_take_string(bytes);
    case 1:
        return counted_value(PyList_New(0), bytes, NONE);
    case 2:
        return counted_value(PySet_New(NULL), bytes, NONE);
    case 3:
        return counted_value(PyDict_New(), bytes, TEXT_SCORE);
    case 4:
        return counted_value(PyDict_New(), bytes, STRING);
    case 5:
        return counted_value(PyDict_New(), bytes, DOUBLE);
    case 9:
        return packed_value(PyDict_New(), KR_ZIPMAP, bytes, 0);
    case 10:
        return packed_value(PyList_New(0), KR_ZIPLIST, bytes, 0);
    case 11:
        return packed_value(PySet_New(NULL), KR_INTSET, bytes, 0);
    case 12:
        return packed_value(PyDict_New(), KR_ZIPLIST, bytes, 1);
    case 13:
        return packed_value(PyDict_New(), KR_ZIPLIST, bytes, 0);
    case 14:
        return quicklist(bytes, 0);
    case 16:
        return packed_value(PyDict_New(), KR_LISTPACK, bytes, 0);
    case 17:
        return packed_value(PyDict_New(), KR_LISTPACK, bytes, 1);
    case 18:
        return quicklist(bytes, 1);
    case 20:
        return packed_value(PySet_New(NULL), KR_LISTPACK, bytes, 0);
    case 15:
    case 19:
    case 21:
        return kr_rdb_stream(state, type, bytes);
    case 23:
    case 25:
        return listpack_with_expiries(bytes, type, expiries);
    default:
        return hash_with_expiries(bytes, type, is_valkey, expiries);
    }
}

/* The kind of each type. */
static const unsigned char kinds[] = {
    [0] = KR_RDB_A_STRING, [1] = KR_RDB_A_LIST,   [2] = KR_RDB_A_SET,    [3] = KR_RDB_A_ZSET,    [4] = KR_RDB_A_HASH,
    [5] = KR_RDB_A_ZSET,   [6] = KR_RDB_OPAQUE,   [7] = KR_RDB_OPAQUE,   [8] = KR_RDB_OPAQUE,    [9] = KR_RDB_A_HASH,
    [10] = KR_RDB_A_LIST,  [11] = KR_RDB_A_SET,   [12] = KR_RDB_A_ZSET,  [13] = KR_RDB_A_HASH,   [14] = KR_RDB_A_LIST,
    [15] = KR_RDB_A_STREAM, [16] = KR_RDB_A_HASH, [17] = KR_RDB_A_ZSET,  [18] = KR_RDB_A_LIST,   [19] = KR_RDB_A_STREAM,
    [20] = KR_RDB_A_SET,   [21] = KR_RDB_A_STREAM, [22] = KR_RDB_A_HASH, [23] = KR_RDB_A_HASH,   [24] = KR_RDB_A_HASH,
    [25] = KR_RDB_A_HASH};

PyObject *kr_rdb_value(kr_state *state, unsigned type, int is_valkey, struct kr_rdb_bytes bytes, int *kind, PyObject **expiries)
{
    *expiries = NULL;
    *kind = type < sizeof kinds ? kinds[type] : KR_RDB_OPAQUE;
    if (*kind == KR_RDB_OPAQUE)
        return Py_NewRef(Py_None);
    PyObject *value = decode(state, type, is_valkey, &bytes, expiries);
    if (value && bytes.at != bytes.end)
        Py_CLEAR(value);
    if (!value)
        Py_CLEAR(*expiries);
    return value;
}
