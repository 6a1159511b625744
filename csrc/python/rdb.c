/* The reader of an RDB: pieces in, entries out. csrc/rdb finds the records, rdb_values.c decodes them. */
#include <string.h>

#include "python/rdb.h"

typedef struct {
    PyObject_HEAD
    kr_state *state;
    kr_rdb *reader;
    PyObject *left_out; /* a list of (kind, db, name, type, value, expires_at_ms) */
    unsigned long long restore_bytes; /* the values in it may still take so many */
    char is_whole;
    char has_failed; /* an error ended it, of the reader or of a value */
    char is_busy;    /* it decodes values: the bytes must stay where they are */
} Reader;

/* `_fault(code, position, type, key)` makes the exception. */
static PyObject *fault(Reader *reader, int code, uint64_t position, unsigned type, const char *key, uint64_t key_bytes)
{
    if (PyErr_Occurred())
        return NULL;
    PyObject *name = key ? PyBytes_FromStringAndSize(key, (Py_ssize_t)key_bytes) : Py_NewRef(Py_None);
    return name ? kr_raise_object(PyObject_CallMethod((PyObject *)reader, "_fault", "iKIN", code, (unsigned long long)position, type, name)) : NULL;
}

static PyObject *reader_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    Reader *self = (Reader *)kr_new(type, arguments, names);
    if (!self)
        return NULL;
    self->left_out = PyList_New(0);
    self->reader = kr_rdb_new(0);
    if (self->left_out && self->reader)
        return (PyObject *)self;
    if (!self->reader)
        PyErr_NoMemory();
    Py_DECREF(self);
    return NULL;
}

/* Notes what is left out. The value, with its type in front, is kept if `raw` is given and fits. */
static int leave_out(Reader *self, const char *kind, const kr_rdb_entry *entry, PyObject *name, PyObject *type, const char *raw)
{
    uint64_t bytes = raw && entry->value_bytes + 1 <= self->restore_bytes ? entry->value_bytes + 1 : 0;
    PyObject *value = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    if (value && bytes) {
        *PyBytes_AsString(value) = (char)entry->type;
        memcpy(PyBytes_AsString(value) + 1, raw, entry->value_bytes);
        self->restore_bytes -= bytes;
    }
    PyObject *item = name && type && value ? Py_BuildValue("(sIOOOL)", kind, entry->db, name, type, value, (long long)entry->expires_at_ms) : NULL;
    Py_XDECREF(value);
    int failed = !item || PyList_Append(self->left_out, item) < 0;
    Py_XDECREF(item);
    Py_XDECREF(name);
    Py_XDECREF(type);
    return failed ? -1 : 0;
}

/* The id of a module holds nine characters of six bits, then ten bits of a version. */
static PyObject *module_name(const unsigned char *value, const unsigned char *end)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t id = 0;
    char name[10] = {0};
    kr_rdb_length(value, end, &id);
    for (int i = 0; i < 9; i++)
        name[i] = letters[id >> (58 - 6 * i) & 63];
    return PyUnicode_FromString(name);
}

/* The class has slots, so __init__ need not run: that takes a fifth of the time. */
static PyObject *entry_of(kr_state *state, const kr_rdb_entry *entry, PyObject *key, int kind, PyObject *value, PyObject *expiries)
{
    PyObject *made = PyType_GenericAlloc((PyTypeObject *)state->entry, 0);
    PyObject *expires = entry->expires_at_ms < 0 ? Py_NewRef(Py_None) : PyLong_FromLongLong(entry->expires_at_ms);
    PyObject *db = PyLong_FromUnsignedLong(entry->db);
    PyObject *values[ENTRY_SLOTS] = {key, state->kinds[kind], value, expires, db, expiries ? expiries : Py_None};
    int failed = !made || !expires || !db;
    for (int i = 0; !failed && i < ENTRY_SLOTS; i++)
        failed = state->set_slot(state->entry_slots[i], made, values[i]) < 0;
    if (failed)
        Py_CLEAR(made);
    Py_XDECREF(expires);
    Py_XDECREF(db);
    return made;
}

/* Decodes one record: appends its entry to `list`, or notes what is left out. */
static int add_record(Reader *self, const kr_rdb_batch *batch, const kr_rdb_entry *entry, PyObject *list)
{
    const unsigned char *from = (const unsigned char *)batch->block + entry->value_at, *end = from + entry->value_bytes;
    struct kr_rdb_bytes bytes = {from, end};
    PyObject *expiries, *made = NULL;
    int kind;
    if (entry->type == KR_RDB_MARK_FUNCTION) {
        if (!leave_out(self, "function", entry, kr_rdb_take_string(&bytes), PyUnicode_FromString(""), NULL))
            return 0;
        fault(self, KR_E_RDB_STRING, batch->position, entry->type, NULL, 0);
        return -1;
    }
    if (entry->type >= KR_RDB_MARK_FIRST)
        return 0;
    PyObject *key = PyBytes_FromStringAndSize(batch->keys + entry->key_at, (Py_ssize_t)entry->key_bytes);
    if (!key)
        return -1;
    PyObject *value = kr_rdb_value(self->state, entry->type, (int)batch->is_valkey, bytes, &kind, &expiries);
    int failed = !value;
    if (value && kind == KR_RDB_OPAQUE) {
        failed = leave_out(self, "key", entry, Py_NewRef(key), module_name(from, end), (const char *)from) < 0;
    } else if (value) {
        made = entry_of(self->state, entry, key, kind, value, expiries);
        failed = !made || PyList_Append(list, made) < 0;
    }
    if (failed)
        fault(self, KR_E_RDB_STRING, batch->position, entry->type, batch->keys + entry->key_at, entry->key_bytes);
    Py_XDECREF(made);
    Py_XDECREF(value);
    Py_XDECREF(expiries);
    Py_DECREF(key);
    return failed ? -1 : 0;
}

static int add_records(Reader *self, PyObject *list)
{
    kr_rdb_batch batch;
    int failed = 0;
    kr_rdb_entries(self->reader, &batch);
    for (uint64_t i = 0; !failed && i < batch.count; i++)
        failed = add_record(self, &batch, batch.entries + i, list) < 0;
    return failed ? -1 : 0;
}

/* Feeds all bytes, and collects the entries of the batches that they fill. */
static PyObject *feed_all(Reader *self, const char *bytes, uint64_t length)
{
    PyObject *list = PyList_New(0);
    int answer = !list ? KR_RDB_MORE : self->has_failed ? KR_E_RDB_FAILED : !self->is_whole ? KR_RDB_BATCH : length ? KR_E_RDB_TRAILING : KR_RDB_DONE;
    while (answer == KR_RDB_BATCH) {
        uint64_t taken;
        answer = kr_rdb_feed(self->reader, bytes, length, &taken);
        bytes += taken;
        length -= taken;
        if (answer > 0 && add_records(self, list) < 0)
            Py_CLEAR(list);
        if (!list)
            return NULL;
        self->is_whole = answer == KR_RDB_DONE;
        if (self->is_whole && length)
            answer = KR_E_RDB_TRAILING;
    }
    if (answer < 0) {
        kr_rdb_batch batch;
        kr_rdb_entries(self->reader, &batch);
        fault(self, answer, batch.position, batch.type, batch.key, batch.key_bytes);
        Py_CLEAR(list);
    }
    return list;
}

static PyObject *feed_alone(PyObject *self, PyObject *piece)
{
    Reader *reader = (Reader *)self;
    Py_buffer view;
    if (PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    if (reader->is_busy) { /* the class of streams is Python code, in which threads take turns */
        PyBuffer_Release(&view);
        PyErr_SetString(PyExc_RuntimeError, "another call of feed is at work: use a reader in one thread");
        return NULL;
    }
    int collects = PyGC_Disable(); /* it would run again and again over the new objects, and find nothing */
    reader->is_busy = 1;
    PyObject *entries = feed_all(reader, view.buf, (uint64_t)view.len);
    reader->is_busy = 0;
    kr_resume_gc(collects);
    if (!entries) { /* some entries are lost, so it is never whole */
        reader->has_failed = 1;
        reader->is_whole = 0;
    }
    PyBuffer_Release(&view);
    return entries;
}

static PyObject *reader_position(PyObject *self, void *nothing)
{
    kr_rdb_batch batch;
    kr_rdb_entries(((Reader *)self)->reader, &batch);
    return PyLong_FromUnsignedLongLong(batch.position);
}

static PyObject *reader_version(PyObject *self, void *nothing)
{
    kr_rdb_batch batch;
    kr_rdb_entries(((Reader *)self)->reader, &batch);
    return Py_BuildValue("(sI)", batch.is_valkey ? "VALKEY" : "REDIS", batch.version);
}

static void reader_dealloc(PyObject *self)
{
    kr_rdb_free(((Reader *)self)->reader);
    Py_XDECREF(((Reader *)self)->left_out);
    kr_free(self);
}

ALONE(feed)

/* The slots of an Entry, and the names of the types in the order of enum kr_rdb_kind. */
static int know_slots(kr_state *state)
{
    static const char *const slots[ENTRY_SLOTS] = {"key", "type", "value", "expires_at_ms", "db", "field_expiries"};
    static const char *const kinds[KR_RDB_KINDS] = {"string", "list", "set", "zset", "hash", "stream"};
    for (int i = 0; i < ENTRY_SLOTS; i++) {
        Py_XDECREF(state->entry_slots[i]);
        if (!(state->entry_slots[i] = PyObject_GetAttrString(state->entry, slots[i])))
            return -1;
    }
    for (int i = 0; i < KR_RDB_KINDS; i++) {
        Py_XDECREF(state->kinds[i]);
        if (!(state->kinds[i] = PyUnicode_InternFromString(kinds[i])))
            return -1;
    }
    state->set_slot = (descrsetfunc)PyType_GetSlot(Py_TYPE(state->entry_slots[0]), Py_tp_descr_set);
    return 0;
}

/* Stores the classes of entries, which are written in Python. */
PyObject *kr_know_entries(PyObject *module, PyObject *arguments)
{
    kr_state *state = PyModule_GetState(module);
    PyObject *found[3], **places[] = {&state->entry, &state->stream, &state->stream_group};
    if (!PyArg_ParseTuple(arguments, "OOO", found, found + 1, found + 2))
        return NULL;
    for (int i = 0; i < 3; i++) {
        PyObject *before = *places[i];
        *places[i] = Py_NewRef(found[i]);
        Py_XDECREF(before);
    }
    return know_slots(state) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef reader_methods[] = {
    {"feed", feed, METH_O,
     "feed($self, piece, /)\n--\n\n"
     "Take the next bytes of the file, cut anywhere. Returns the entries that are whole, in lists of about 1 MiB.\n\n"
     "Raises SnapshotError for bytes that are no RDB, for an unknown type, and for a wrong checksum."},
    {NULL, NULL, 0, NULL}};
static PyMemberDef reader_members[] = {{"_left_out", T_OBJECT, offsetof(Reader, left_out), READONLY, NULL},
                                       {"restore_bytes", T_ULONGLONG, offsetof(Reader, restore_bytes), 0, NULL},
                                       {"is_whole", T_BOOL, offsetof(Reader, is_whole), READONLY, NULL},
                                       {NULL, 0, 0, 0, NULL}};
static PyGetSetDef reader_getters[] = {{"position", reader_position, NULL, NULL, NULL},
                                       {"version", reader_version, NULL, NULL, NULL},
                                       {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot reader_slots[] = {{Py_tp_new, reader_new},         {Py_tp_methods, reader_methods}, {Py_tp_members, reader_members},
                                     {Py_tp_getset, reader_getters}, {Py_tp_dealloc, reader_dealloc}, {0, NULL}};
static PyType_Spec reader_spec = {"kevy_ring._calls.RdbCalls", sizeof(Reader), 0, CAN_BE_BASE, reader_slots};

int kr_add_rdb(PyObject *module, kr_state *state) { return kr_add_type(module, &reader_spec, NULL, &state->rdb_reader); }
