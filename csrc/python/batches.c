/* Batches, read where they lie: a drain, a payload and a release are one call each. What is not plain, every error
 * included, is left to the method in Python that is named beside each. */
#include <string.h>

#include "python/calls.h"


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
    PyObject *ahead, *left_at;
    /* The decoded arguments of events `low` to `high - 1`, for Python; views of them hinder no release. */
    PyObject *low, *high, *bounds, *decoded;
    Py_ssize_t count, released;
    char held, more;
    char lent; /* views were made since the last time that there were none */
} BatchCalls;

static PyObject *columns_type, *batch_type, *consumer_type, *name_toreadonly, *zero;

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

static void decode_nothing(BatchCalls *batch)
{
    PyObject *low = batch->low, *high = batch->high;
    Py_INCREF(zero);
    Py_INCREF(zero);
    batch->low = batch->high = zero;
    Py_XDECREF(low);
    Py_XDECREF(high);
    Py_CLEAR(batch->decoded);
}

/* What the core has just drained, as a batch of the class of the batch of no records, without the call of its __init__.
 * No Python code runs between the drain and this, and no signal's handler: a drain has a batch that ends it, always. */
static PyObject *new_batch(PyObject *self, Py_ssize_t count, PyObject *columns)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    PyTypeObject *type = Py_TYPE(calls->no_records);
    int collects = PyGC_Disable(); /* a finalizer is any code at all, and might close this very consumer */
    BatchCalls *batch = (BatchCalls *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (collects)
        PyGC_Enable();
    if (!batch) {
        kr_consumer_release(calls->consumer, calls->out.position, 0, 1);
        return NULL;
    }
    Py_INCREF(self);
    Py_INCREF(columns);
    batch->consumer = self;
    batch->columns = columns;
    decode_nothing(batch);
    batch->count = count;
    batch->held = 1;
    batch->more = calls->out.more != 0;
    calls->open_batch = (PyObject *)batch;
    return (PyObject *)batch;
}

PyObject *kr_open_batch(PyObject *self, void *nothing)
{
    PyObject *batch = ((ConsumerCalls *)self)->open_batch;
    if (!batch)
        batch = Py_None;
    Py_INCREF(batch);
    return batch;
}

/* The drain of the long way: into `columns`, of at most so many bytes. Whatever comes of it has a batch at once. */
PyObject *kr_take_batch(PyObject *self, PyObject *arguments)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    PyObject *columns, *before, *batch;
    unsigned long long bytes;
    if (!PyArg_ParseTuple(arguments, "OK", &columns, &bytes))
        return NULL;
    if (!calls->consumer || !is_columns(columns) || !calls->no_records) {
        PyErr_SetString(PyExc_ValueError, "a drain needs a consumer with its role, and columns to fill");
        return NULL;
    }
    const ColumnsCalls *into = (ColumnsCalls *)columns;
    int64_t count = kr_consumer_drain(calls->consumer, into->room, bytes, (char *)(uintptr_t)into->address, &calls->out);
    if (count < 0)
        return PyObject_CallMethod(self, "_refused", "i", (int)count);
    batch = count ? new_batch(self, (Py_ssize_t)count, columns) : calls->no_records;
    if (!count)
        Py_INCREF(batch);
    before = calls->batch_columns;
    Py_INCREF(columns);
    calls->batch_columns = columns;
    Py_XDECREF(before);
    return batch;
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
    return calls->consumer && !calls->careful && !calls->strays && is_columns(calls->batch_columns) && calls->no_records &&
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
            return new_batch(self, (Py_ssize_t)count, calls->batch_columns);
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
    batch->lent = 1;
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
    Py_INCREF(root); /* a collection of garbage, in between, may release the batch */
    PyObject *payload = PySequence_GetSlice(root, (Py_ssize_t)columns.starts[i], (Py_ssize_t)(columns.starts[i] + columns.lengths[i]));
    Py_DECREF(root);
    return payload;
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

/* ------------------------------------------------------------------------------------------- how a batch ends */

/* How many snapshots end in records `first` to `last - 1`. */
static uint64_t snapshots_ended(const BatchCalls *batch, const ConsumerCalls *calls, Py_ssize_t first, Py_ssize_t last)
{
    uint64_t ended = 0;
    if (calls->out.frames == (uint64_t)batch->count || !is_columns(batch->columns))
        return 0;
    const uint8_t *kinds = columns_at((ColumnsCalls *)batch->columns).kinds;
    for (Py_ssize_t i = first; i < last; i++)
        ended += kinds[i] == KR_KIND_SNAPSHOT_END;
    return ended;
}

/* The position behind the first `upto` records. */
static uint64_t end_of(const BatchCalls *batch, const ConsumerCalls *calls, Py_ssize_t upto)
{
    if (upto == batch->count)
        return calls->out.position + calls->out.span;
    if (!upto || !is_columns(batch->columns))
        return calls->out.position;
    struct kr_columns columns = columns_at((ColumnsCalls *)batch->columns);
    return calls->out.position + ((columns.starts[upto - 1] + columns.lengths[upto - 1] + 7) & ~7ull);
}

/* The batch is over, for this object and for its consumer. */
static void over(BatchCalls *batch, ConsumerCalls *calls)
{
    batch->held = batch->lent = 0;
    if (calls && calls->open_batch == (PyObject *)batch)
        calls->open_batch = NULL;
    decode_nothing(batch);
    Py_CLEAR(batch->lender);
}

/* Drops the views that the batch itself keeps. Returns whether others are left: then the loan continues. */
static int escaped(BatchCalls *batch)
{
    if (!batch->lent)
        return 0;
    decode_nothing(batch);
    Py_CLEAR(batch->root);
    if (kr_is_lender(batch->lender) && kr_escaped(batch->lender))
        return 1;
    batch->lent = 0;
    return 0;
}

/* Ends a batch with nothing (more) given back: its records are drained again. No Python code runs, so a batch that nobody
 * has any more can be ended by whoever let go of it last, in any thread, and no signal comes in between. Views that are
 * left keep their bytes: nothing of them is given back before the next drain, which cuts them off. */
static void abandon(BatchCalls *batch)
{
    ConsumerCalls *calls = consumer_of(batch);
    if (!batch->held)
        return;
    int is_open = calls && calls->open_batch == (PyObject *)batch;
    if (escaped(batch) && is_open)
        calls->strays = 1;
    if (is_open && calls->consumer)
        kr_consumer_release(calls->consumer, end_of(batch, calls, batch->released), 0, 1);
    over(batch, calls);
}

static int refuse(ConsumerCalls *calls, int code)
{
    PyObject *nothing = PyObject_CallMethod((PyObject *)calls, "_refused", "i", code);
    Py_XDECREF(nothing);
    return -1;
}

/* Gives the first `upto` records back, which are so many events. `done`: the batch is over, whatever lies behind. 0, or -1
 * with an exception: then it is as it was. */
static int give_back(BatchCalls *batch, ConsumerCalls *calls, Py_ssize_t upto, uint64_t events, int done)
{
    uint64_t ended = snapshots_ended(batch, calls, batch->released, upto);
    int code = kr_consumer_release(calls->consumer, end_of(batch, calls, upto), events, done);
    if (code < 0)
        return refuse(calls, code);
    calls->snapshots_released += ended;
    batch->released = upto;
    if (done)
        over(batch, calls);
    return 0;
}

/* Gives the first `upto` records back, unless views are left. 0, or -1 with an exception. */
static int release_first(BatchCalls *batch, Py_ssize_t upto)
{
    ConsumerCalls *calls = consumer_of(batch);
    if (!batch->held || (upto <= batch->released && upto != batch->count))
        return 0;
    if (!calls || !calls->consumer) {
        PyObject *nothing = kr_leave_to((PyObject *)batch, "_closed", NULL); /* which raises */
        Py_XDECREF(nothing);
        return -1;
    }
    if (escaped(batch)) {
        PyObject *nothing = kr_leave_to((PyObject *)batch, "_escaped", NULL); /* which raises */
        Py_XDECREF(nothing);
        return -1;
    }
    return give_back(batch, calls, upto, (uint64_t)(upto - batch->released), upto == batch->count);
}

/* Ends the batch: the first `upto` records are given back, or those that were already. Views that are left get a private
 * copy, so that the error of the application is the one that is seen and the ring goes on. Whatever fails, nothing more
 * is given back and the batch is over. 0, or -1 with an exception. */
static int end_at(BatchCalls *batch, Py_ssize_t upto)
{
    ConsumerCalls *calls = consumer_of(batch);
    if (!batch->held || !calls || !calls->consumer)
        return 0;
    if (escaped(batch)) {
        PyObject *nothing = kr_leave_to((PyObject *)calls, "_freeze", NULL);
        Py_XDECREF(nothing);
        if (!nothing) {
            abandon(batch);
            return -1;
        }
        batch->lent = 0;
        if (!batch->held || !calls->consumer) /* another thread ended it, meanwhile */
            return 0;
    }
    if (upto < batch->released)
        upto = batch->released;
    if (give_back(batch, calls, upto, (uint64_t)(upto - batch->released), 1) < 0) {
        abandon(batch);
        return -1;
    }
    return 0;
}

static PyObject *batch_release(PyObject *self, PyObject *arguments, PyObject *names)
{
    if (names || PyTuple_Size(arguments)) {
        PyObject *long_way = PyObject_GetAttrString(self, "_release");
        PyObject *answer = long_way ? PyObject_Call(long_way, arguments, names) : NULL;
        Py_XDECREF(long_way);
        return answer;
    }
    if (release_first((BatchCalls *)self, ((BatchCalls *)self)->count) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* The number of records that is the one argument, from 0 to all of them. -1 with an exception. */
static Py_ssize_t records_of(const BatchCalls *batch, PyObject *number)
{
    Py_ssize_t upto = PyNumber_AsSsize_t(number, PyExc_OverflowError);
    if (upto == -1 && PyErr_Occurred())
        return -1;
    if (upto >= 0 && upto <= batch->count)
        return upto;
    PyErr_Format(PyExc_ValueError, "release of %zd records of a batch of %zd", upto, batch->count);
    return -1;
}

static PyObject *batch_release_first(PyObject *self, PyObject *number)
{
    Py_ssize_t upto = records_of((BatchCalls *)self, number);
    if (upto < 0 || release_first((BatchCalls *)self, upto) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *batch_end_at(PyObject *self, PyObject *number)
{
    Py_ssize_t upto = records_of((BatchCalls *)self, number);
    if (upto < 0 || end_at((BatchCalls *)self, upto) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *batch_abandon(PyObject *self, PyObject *nothing)
{
    abandon((BatchCalls *)self);
    Py_RETURN_NONE;
}

/* Gives the space of a fragment back, which is no event. */
static PyObject *batch_pass(PyObject *self, PyObject *nothing)
{
    BatchCalls *batch = (BatchCalls *)self;
    ConsumerCalls *calls = consumer_of(batch);
    if (batch->held && calls && calls->consumer && give_back(batch, calls, batch->count, 0, 1) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *batch_enter(PyObject *self, PyObject *nothing)
{
    Py_INCREF(self);
    return self;
}

/* After an exit that failed: only views that are left are a reason to keep the batch. Of all else, a signal's handler that
 * raised in the middle of it, nobody would end it: the variable of the `with` may keep it until the next drain is made. */
static void exit_failed(PyObject *self)
{
    PyObject *kind, *value, *trace, *views_escaped;
    PyErr_Fetch(&kind, &value, &trace);
    views_escaped = PyObject_GetAttrString(self, "_views_escaped");
    if (!views_escaped || !kind || !PyErr_GivenExceptionMatches(kind, views_escaped))
        abandon((BatchCalls *)self);
    Py_XDECREF(views_escaped);
    PyErr_Restore(kind, value, trace);
}

static PyObject *batch_exit(PyObject *self, PyObject *arguments)
{
    BatchCalls *batch = (BatchCalls *)self;
    int failed;
    if (!batch->held)
        Py_RETURN_NONE;
    if (PyTuple_Size(arguments) && PyTuple_GetItem(arguments, 0) == Py_None) {
        failed = release_first(batch, batch->count);
    } else {
        PyObject *finished = kr_leave_to(self, "_finished", PyTuple_Size(arguments) == 3 ? PyTuple_GetItem(arguments, 2) : Py_None);
        Py_ssize_t upto = finished ? records_of(batch, finished) : -1;
        Py_XDECREF(finished);
        failed = upto < 0 ? -1 : end_at(batch, upto);
    }
    if (failed < 0) {
        exit_failed(self);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Gives the views of an ended batch, or of one that is about to end, a private copy of its bytes for good, and the consumer
 * the area `fresh`, which is mapped at `address`. In one step: no signal leaves one of the two undone. */
PyObject *kr_cut_off_strays(PyObject *self, PyObject *arguments)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    PyObject *fresh;
    unsigned long long address, index, length;
    if (!PyArg_ParseTuple(arguments, "OK", &fresh, &address))
        return NULL;
    if (calls->consumer && kr_is_lender(calls->lender) && kr_escaped(calls->lender)) {
        kr_last_loan(calls->lender, &index, &length);
        int code = kr_area_freeze(calls->consumer->data, index, length);
        if (code < 0)
            return PyObject_CallMethod(self, "_refused", "i", code);
        PyObject *before = calls->area;
        kr_consumer_rebase(calls->consumer, (char *)(uintptr_t)address);
        Py_INCREF(fresh);
        calls->area = fresh;
        Py_CLEAR(calls->lender);
        Py_XDECREF(before);
    }
    calls->strays = 0;
    Py_RETURN_NONE;
}

static int batch_clear(PyObject *self)
{
    BatchCalls *batch = (BatchCalls *)self;
    abandon(batch); /* while it knows its consumer */
    Py_CLEAR(batch->consumer);
    Py_CLEAR(batch->columns);
    Py_CLEAR(batch->lender);
    Py_CLEAR(batch->root);
    Py_CLEAR(batch->ahead);
    Py_CLEAR(batch->left_at);
    Py_CLEAR(batch->low);
    Py_CLEAR(batch->high);
    Py_CLEAR(batch->bounds);
    Py_CLEAR(batch->decoded);
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
    Py_VISIT(batch->bounds);
    Py_VISIT(batch->decoded);
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
    {"_release_first", batch_release_first, METH_O, NULL},
    {"_end_at", batch_end_at, METH_O, NULL},
    {"_abandon", batch_abandon, METH_NOARGS, NULL},
    {"_pass", batch_pass, METH_NOARGS, NULL},
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
    {"_low", T_OBJECT_EX, offsetof(BatchCalls, low), 0, NULL}, /* of this kind the interpreter reads without a call */
    {"_high", T_OBJECT_EX, offsetof(BatchCalls, high), 0, NULL},
    {"_bounds", T_OBJECT_EX, offsetof(BatchCalls, bounds), 0, NULL},
    {"_decoded", T_OBJECT_EX, offsetof(BatchCalls, decoded), 0, NULL},
    {"_lent", T_BOOL, offsetof(BatchCalls, lent), 0, NULL},
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
    name_toreadonly = PyUnicode_InternFromString("toreadonly");
    zero = PyLong_FromLong(0);
    if (!name_toreadonly || !zero)
        return -1;
    return kr_add_type(module, "ColumnsCalls", &columns_spec, NULL, &columns_type) ||
           kr_add_type(module, "BatchCalls", &batch_spec, NULL, &batch_type);
}
