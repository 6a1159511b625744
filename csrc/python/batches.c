/* Batches, read where they lie: a drain, a payload and a release are one call each. What is not plain, every error
 * included, is left to the method in Python that is named beside each. */
#include <string.h>

#include "calls.h"

#define KIND_END 3

typedef struct {
    PyObject_HEAD
    unsigned long long address; /* of the memory that the object in Python keeps */
    unsigned long long room, asked;
    char exposed;
} ColumnsCalls;

typedef struct {
    PyObject_HEAD
    PyObject *consumer, *columns;
    PyObject *lender; /* NULL: the consumer's, once it is needed */
    PyObject *root;   /* all views come from it: there are none while it is not there */
    PyObject *ahead, *left_at, *views;
    Py_ssize_t count, released;
    char held, more;
} BatchCalls;

static PyObject *columns_type, *batch_type, *consumer_type, *name_open_batch, *name_toreadonly;

static int is_columns(PyObject *object)
{
    return object && PyObject_TypeCheck(object, (PyTypeObject *)columns_type) && ((ColumnsCalls *)object)->address;
}

static ConsumerCalls *consumer_of(BatchCalls *batch)
{
    PyObject *consumer = batch->consumer;
    return consumer && PyObject_TypeCheck(consumer, (PyTypeObject *)consumer_type) ? (ConsumerCalls *)consumer : NULL;
}

static struct kr_columns columns_at(const ColumnsCalls *columns)
{
    return kr_split_columns((char *)(uintptr_t)columns->address, columns->room);
}

/* ---------------------------------------------------------------------------------------------------- drains */

/* Of the class of the batch of no records, without the call of its __init__. */
static PyObject *new_batch(PyObject *self, Py_ssize_t count)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    PyTypeObject *type = Py_TYPE(calls->no_records);
    BatchCalls *batch = (BatchCalls *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (batch) {
        Py_INCREF(self);
        Py_INCREF(calls->batch_columns);
        batch->consumer = self;
        batch->columns = calls->batch_columns;
        batch->count = count;
        batch->held = 1;
        batch->more = calls->out.more != 0;
    }
    if (!batch || PyObject_SetAttr(self, name_open_batch, (PyObject *)batch) < 0) {
        kr_consumer_release(calls->consumer, calls->out.position, 0, 1);
        Py_CLEAR(batch);
    }
    return (PyObject *)batch;
}

/* Whether a number of at least one, and no class of somebody's own; `*value` is as before for None. */
static int plain_limit(PyObject *number, uint64_t *value)
{
    if (!PyLong_CheckExact(number))
        return number == Py_None;
    unsigned long long limit = PyLong_AsUnsignedLongLong(number);
    if (limit == UINT64_MAX)
        PyErr_Clear();
    *value = limit;
    return limit > 0 && limit < UINT64_MAX;
}

static int plain_limits(PyObject *arguments, uint64_t *records, uint64_t *bytes)
{
    Py_ssize_t count = PyTuple_Size(arguments);
    *records = 1024; /* what the signatures say */
    *bytes = UINT64_MAX;
    return count <= 2 && (count < 1 || (PyTuple_GetItem(arguments, 0) != Py_None && plain_limit(PyTuple_GetItem(arguments, 0), records))) &&
           (count < 2 || plain_limit(PyTuple_GetItem(arguments, 1), bytes));
}

static int can_drain(const ConsumerCalls *calls)
{
    return calls->consumer && !calls->careful && is_columns(calls->batch_columns) && calls->no_records &&
           PyObject_TypeCheck(calls->no_records, (PyTypeObject *)batch_type);
}

PyObject *kr_drain(PyObject *self, PyObject *arguments, PyObject *names)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    uint64_t records, bytes;
    if (!names && can_drain(calls) && plain_limits(arguments, &records, &bytes)) {
        const ColumnsCalls *columns = (ColumnsCalls *)calls->batch_columns;
        int64_t count = -1;
        if (columns->asked == records && !columns->exposed)
            count = kr_consumer_drain(calls->consumer, columns->room, bytes, (char *)(uintptr_t)columns->address, &calls->out);
        if (count == 0) {
            Py_INCREF(calls->no_records);
            return calls->no_records;
        }
        if (count > 0 && !calls->out.fragment)
            return new_batch(self, (Py_ssize_t)count);
        if (count > 0)
            kr_consumer_release(calls->consumer, calls->out.position, 0, 1);
    }
    PyObject *long_way = PyObject_GetAttrString(self, "_drain");
    PyObject *batch = long_way ? PyObject_Call(long_way, arguments, names) : NULL;
    Py_XDECREF(long_way);
    return batch;
}

/* --------------------------------------------------------------------------------------------------- batches */

/* The loan as one view, which the batch keeps. NULL with an exception. */
static PyObject *root_of(BatchCalls *batch)
{
    ConsumerCalls *calls;
    if (batch->root && batch->root != Py_None)
        return batch->root;
    if (!batch->held || batch->lender || !(calls = consumer_of(batch)) || !kr_is_lender(calls->lender)) {
        PyObject *view = kr_leave_to((PyObject *)batch, "_view", NULL); /* which puts it there */
        Py_XDECREF(view);
        return view ? batch->root : NULL;
    }
    Py_INCREF(calls->lender);
    batch->lender = calls->lender;
    PyObject *view = kr_lend(batch->lender, calls->out.index, calls->out.span);
    if (view)
        batch->root = PyObject_CallMethodObjArgs(view, name_toreadonly, NULL);
    Py_XDECREF(view);
    return batch->root;
}

static PyObject *payload_of(BatchCalls *batch, Py_ssize_t i)
{
    PyObject *root = root_of(batch); /* or it raises: of a batch that is released no column is read */
    if (!root)
        return NULL;
    if (!is_columns(batch->columns) || i < 0 || (uint64_t)i >= ((ColumnsCalls *)batch->columns)->room) {
        PyErr_SetString(PyExc_IndexError, "batch index out of range");
        return NULL;
    }
    struct kr_columns columns = columns_at((ColumnsCalls *)batch->columns);
    return PySequence_GetSlice(root, (Py_ssize_t)columns.starts[i], (Py_ssize_t)(columns.starts[i] + columns.lengths[i]));
}

static PyObject *batch_payload(PyObject *self, PyObject *number)
{
    Py_ssize_t i = PyNumber_AsSsize_t(number, PyExc_IndexError);
    return i == -1 && PyErr_Occurred() ? NULL : payload_of((BatchCalls *)self, i);
}

static PyObject *batch_item(PyObject *self, PyObject *number)
{
    BatchCalls *batch = (BatchCalls *)self;
    Py_ssize_t i = PyLong_CheckExact(number) ? PyLong_AsSsize_t(number) : -1;
    if (i >= 0 && i < batch->count)
        return payload_of(batch, i);
    PyErr_Clear();
    PyObject *from_start = kr_leave_to(self, "_index", number);
    PyObject *payload = from_start ? batch_payload(self, from_start) : NULL;
    Py_XDECREF(from_start);
    return payload;
}

/* For the protocol of sequences, which counts from the end by itself. */
static PyObject *batch_at(PyObject *self, Py_ssize_t i)
{
    return payload_of((BatchCalls *)self, i < ((BatchCalls *)self)->count ? i : -1);
}

static Py_ssize_t batch_length(PyObject *self) { return ((BatchCalls *)self)->count; }

/* Whether a snapshot ends in what is held. */
static int holds_an_end(const BatchCalls *batch, const ConsumerCalls *calls)
{
    if (calls->out.frames == (uint64_t)batch->count)
        return 0;
    const uint8_t *kinds = columns_at((ColumnsCalls *)batch->columns).kinds;
    return memchr(kinds + batch->released, KIND_END, (size_t)(batch->count - batch->released)) != NULL;
}

/* Calls a method that gives nothing back. 0, or -1 with an exception. */
static int tell(PyObject *object, const char *method)
{
    PyObject *nothing = kr_leave_to(object, method, NULL);
    Py_XDECREF(nothing);
    return nothing ? 0 : -1;
}

/* Ends the loan: 1. 0: another thread did, meanwhile. -1: it goes on, with an exception. */
static int recall(BatchCalls *batch, const ConsumerCalls *calls, int decoded)
{
    if (decoded && tell(batch->views, "drop") < 0)
        return -1;
    if (!batch->held || !calls->consumer || !kr_is_lender(batch->lender))
        return 0;
    Py_CLEAR(batch->root);
    if (kr_escaped(batch->lender) && tell((PyObject *)batch, "_recall") < 0) /* which lends again, and raises */
        return -1;
    return 1;
}

/* Gives all of a batch back. 1; 0: the long way; -1: with an exception. */
static int give_all_back(PyObject *self)
{
    BatchCalls *batch = (BatchCalls *)self;
    ConsumerCalls *calls = consumer_of(batch);
    int lent = batch->root && batch->root != Py_None, decoded = batch->views && batch->views != Py_None;
    if (!batch->held)
        return 1;
    if (!calls || !calls->consumer || !is_columns(batch->columns) || (lent && !kr_is_lender(batch->lender)) ||
        holds_an_end(batch, calls))
        return 0;
    int ended = lent ? recall(batch, calls, decoded) : 1;
    if (ended <= 0)
        return ended;
    /* First: once the core has the space back another thread may have the next batch. */
    if (PyObject_SetAttr((PyObject *)calls, name_open_batch, Py_None) < 0)
        return -1;
    int code = kr_consumer_release(calls->consumer, calls->out.position + calls->out.span, (uint64_t)(batch->count - batch->released), 1);
    if (code < 0) {
        PyObject *nothing = PyObject_SetAttr((PyObject *)calls, name_open_batch, self) < 0
                                ? NULL
                                : PyObject_CallMethod((PyObject *)calls, "_refused", "i", code);
        Py_XDECREF(nothing);
        return -1;
    }
    batch->released = batch->count;
    batch->held = 0;
    Py_CLEAR(batch->lender);
    return decoded && tell(batch->views, "end") < 0 ? -1 : 1;
}

static PyObject *batch_release(PyObject *self, PyObject *arguments, PyObject *names)
{
    int done = names || PyTuple_Size(arguments) ? 0 : give_all_back(self);
    if (done < 0)
        return NULL;
    if (done)
        Py_RETURN_NONE;
    PyObject *long_way = PyObject_GetAttrString(self, "_release");
    PyObject *answer = long_way ? PyObject_Call(long_way, arguments, names) : NULL;
    Py_XDECREF(long_way);
    return answer;
}

static PyObject *batch_enter(PyObject *self, PyObject *nothing)
{
    Py_INCREF(self);
    return self;
}

static PyObject *batch_exit(PyObject *self, PyObject *arguments)
{
    int done = PyTuple_Size(arguments) && PyTuple_GetItem(arguments, 0) == Py_None ? give_all_back(self) : 0;
    if (done < 0)
        return NULL;
    if (done)
        Py_RETURN_NONE;
    PyObject *long_way = PyObject_GetAttrString(self, "_exit");
    PyObject *answer = long_way ? PyObject_CallObject(long_way, arguments) : NULL;
    Py_XDECREF(long_way);
    return answer;
}

static int batch_clear(PyObject *self)
{
    BatchCalls *batch = (BatchCalls *)self;
    Py_CLEAR(batch->consumer);
    Py_CLEAR(batch->columns);
    Py_CLEAR(batch->lender);
    Py_CLEAR(batch->root);
    Py_CLEAR(batch->ahead);
    Py_CLEAR(batch->left_at);
    Py_CLEAR(batch->views);
    return 0;
}

static int batch_traverse(PyObject *self, visitproc visit, void *arg)
{
    BatchCalls *batch = (BatchCalls *)self;
    Py_VISIT(batch->consumer);
    Py_VISIT(batch->columns);
    Py_VISIT(batch->lender);
    Py_VISIT(batch->root);
    Py_VISIT(batch->ahead);
    Py_VISIT(batch->left_at);
    Py_VISIT(batch->views);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void batch_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    batch_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static void columns_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* -------------------------------------------------------------------------------------------------- the types */

static PyMemberDef columns_members[] = {
    {"_address", T_ULONGLONG, offsetof(ColumnsCalls, address), 0, NULL},
    {"room", T_ULONGLONG, offsetof(ColumnsCalls, room), 0, NULL},
    {"asked", T_ULONGLONG, offsetof(ColumnsCalls, asked), 0, NULL},
    {"exposed", T_BOOL, offsetof(ColumnsCalls, exposed), 0, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyType_Slot columns_slots[] = {{Py_tp_members, columns_members}, {Py_tp_dealloc, columns_dealloc}, {0, NULL}};

#define NAMED(function) ((PyCFunction)(void (*)(void))(function))
static PyMethodDef batch_methods[] = {
    {"_payload", batch_payload, METH_O, NULL},
    {"release", NAMED(batch_release), METH_VARARGS | METH_KEYWORDS,
     "release($self, upto=None)\n--\n\n"
     "Give the space of the first upto records (None: all) back to the producer.\n\n"
     "Raises ViewsEscaped while any view into the batch is kept: then nothing is released. Releasing what is released\n"
     "already does nothing."},
    {"__enter__", batch_enter, METH_NOARGS, NULL},
    {"__exit__", batch_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};
static PyMemberDef batch_members[] = {
    {"_consumer", T_OBJECT, offsetof(BatchCalls, consumer), 0, NULL},
    {"_columns", T_OBJECT, offsetof(BatchCalls, columns), 0, NULL},
    {"_lender", T_OBJECT, offsetof(BatchCalls, lender), 0, NULL},
    {"_root", T_OBJECT, offsetof(BatchCalls, root), 0, NULL},
    {"_ahead", T_OBJECT, offsetof(BatchCalls, ahead), 0, NULL},
    {"_left_at", T_OBJECT, offsetof(BatchCalls, left_at), 0, NULL},
    {"_views", T_OBJECT, offsetof(BatchCalls, views), 0, NULL},
    {"count", T_PYSSIZET, offsetof(BatchCalls, count), 0, NULL},
    {"_released", T_PYSSIZET, offsetof(BatchCalls, released), 0, NULL},
    {"_held", T_BOOL, offsetof(BatchCalls, held), 0, NULL},
    {"more", T_BOOL, offsetof(BatchCalls, more), 0, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyType_Slot batch_slots[] = {
    {Py_tp_methods, batch_methods},   {Py_tp_members, batch_members},     {Py_tp_dealloc, batch_dealloc},
    {Py_tp_traverse, batch_traverse}, {Py_tp_clear, batch_clear},         {Py_mp_length, batch_length},
    {Py_sq_length, batch_length},     {Py_sq_item, batch_at},             {Py_mp_subscript, batch_item},
    {0, NULL}};

#define CAN_BE_BASE (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE)
static PyType_Spec columns_spec = {"kevy_ring._calls.ColumnsCalls", sizeof(ColumnsCalls), 0, CAN_BE_BASE, columns_slots};
static PyType_Spec batch_spec = {"kevy_ring._calls.BatchCalls", sizeof(BatchCalls), 0, CAN_BE_BASE | Py_TPFLAGS_HAVE_GC, batch_slots};

int kr_add_batches(PyObject *module, PyObject *consumer_calls)
{
    Py_INCREF(consumer_calls);
    consumer_type = consumer_calls;
    name_open_batch = PyUnicode_InternFromString("_open_batch");
    name_toreadonly = PyUnicode_InternFromString("toreadonly");
    if (!name_open_batch || !name_toreadonly)
        return -1;
    return kr_add_type(module, "ColumnsCalls", &columns_spec, NULL, &columns_type) ||
           kr_add_type(module, "BatchCalls", &batch_spec, NULL, &batch_type);
}
