/* Batches of records, read in place. release.c ends a batch. */
#include "python/calls.h"

struct kr_columns kr_columns_of(const Batch *batch) { return kr_split_columns(batch->columns->memory, batch->columns->room); }

/* The address of the first record. The caller called kr_root() before. */
const char *kr_records_of(const Batch *batch)
{
    return batch->whole ? PyBytes_AsString(batch->whole) : batch->lender->at + batch->consumer->out.index;
}

/* The whole batch as one read-only view, which the batch keeps. NULL with an exception, which is ClosedError after the release. */
PyObject *kr_root(Batch *batch)
{
    if (batch->root)
        return batch->root;
    if (!batch->consumer)
        return batch->state->no_view;
    if (!batch->frozen && (!batch->held || !batch->consumer->lender))
        return kr_raise_closed((PyObject *)batch->consumer, batch->held ? "closed" : "released");
    batch->lent = 1;
    if (batch->whole)
        return batch->root = PyMemoryView_FromObject(batch->whole);
    if (!batch->lender)
        batch->lender = (Lender *)Py_NewRef((PyObject *)batch->consumer->lender);
    return batch->root = kr_lend(batch->lender, batch->consumer->out.index, batch->consumer->out.span, 0);
}

/* The index of a record. `from_end`: a negative one counts from the end. -1 with an exception: there is no such record. */
Py_ssize_t kr_index_of(const Batch *batch, PyObject *number, int from_end)
{
    Py_ssize_t i = PyNumber_AsSsize_t(number, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred())
        return -1;
    if (i < 0 && from_end)
        i += batch->count;
    if (0 <= i && i < batch->count)
        return i;
    PyErr_SetString(PyExc_IndexError, "batch index out of range");
    return -1;
}

PyObject *kr_payload(Batch *batch, Py_ssize_t i)
{
    PyObject *root = kr_root(batch); /* first: it raises for a released batch, whose columns must not be read */
    if (!root)
        return NULL;
    struct kr_columns columns = kr_columns_of(batch);
    Py_INCREF(root); /* garbage collection in the next call may release the batch */
    PyObject *payload = PySequence_GetSlice(root, (Py_ssize_t)columns.starts[i], (Py_ssize_t)(columns.starts[i] + columns.lengths[i]));
    Py_DECREF(root);
    return payload;
}

static PyObject *item_alone(PyObject *self, PyObject *number)
{
    Py_ssize_t i = kr_index_of((Batch *)self, number, 1);
    return i < 0 ? NULL : kr_payload((Batch *)self, i);
}

/* For the sequence protocol. The interpreter has already added the length to a negative index. */
static PyObject *batch_at(PyObject *self, Py_ssize_t i) { return PyObject_CallMethod(self, "_at", "n", i); }

static PyObject *copies_alone(PyObject *self, PyObject *nothing)
{
    Batch *batch = (Batch *)self;
    PyObject *list = PyList_New(batch->count);
    if (!batch->count || !list)
        return list;
    PyObject *root = kr_root(batch);
    struct kr_columns columns = kr_columns_of(batch);
    const char *records = root ? kr_records_of(batch) : NULL;
    int collects = PyGC_Disable();
    for (Py_ssize_t i = 0; list && i < batch->count; i++) {
        PyObject *copy = root ? PyBytes_FromStringAndSize(records + columns.starts[i], (Py_ssize_t)columns.lengths[i]) : NULL;
        if (!copy || PyList_SetItem(list, i, copy) < 0)
            Py_CLEAR(list);
    }
    kr_resume_gc(collects);
    return list;
}

static Py_ssize_t batch_length(PyObject *self) { return ((Batch *)self)->count; }

static PyObject *batch_buffer(PyObject *self, void *nothing)
{
    PyObject *root;
    BEGIN_ALONE(self)
    root = kr_root((Batch *)self);
    Py_XINCREF(root);
    END_ALONE()
    return root;
}

/* ------------------------------------------------------------------------------------------------------- its life */

static int batch_clear(PyObject *self)
{
    Batch *batch = (Batch *)self;
    kr_abandon(batch); /* needs the consumer */
    Py_CLEAR(batch->consumer);
    Py_CLEAR(batch->columns);
    Py_CLEAR(batch->lender);
    Py_CLEAR(batch->root);
    Py_CLEAR(batch->whole);
    Py_CLEAR(batch->ahead);
    Py_CLEAR(batch->left_at);
    Py_CLEAR(batch->decoded);
    return 0;
}

static int batch_traverse(PyObject *self, visitproc visit, void *arg)
{
    Batch *batch = (Batch *)self;
    Py_VISIT(batch->consumer);
    Py_VISIT(batch->columns);
    Py_VISIT(batch->root);
    Py_VISIT(batch->ahead);
    Py_VISIT(batch->left_at);
    Py_VISIT(batch->decoded);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void batch_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    batch_clear(self);
    PyMem_Free(((Batch *)self)->bounds);
    kr_free(self);
}

ALONE(item)
ALONE(copies)

static PyMethodDef batch_methods[] = {
    {"_at", item, METH_O, NULL},
    {"copies", copies, METH_NOARGS, "copies($self, /)\n--\n\nAll payloads, copied into bytes objects. Raises ClosedError after the release."},
    {"release", FAST(kr_batch_release),
     "release($self, upto=None)\n--\n\n"
     "Give the space of the first upto records (None: all) back to the producer.\n\n"
     "Records that are released already are skipped. Raises ViewsEscaped while any view into the batch is alive, and\n"
     "ValueError if upto is not in 0 .. len(batch); then nothing is released."},
    {"freeze", kr_batch_freeze, METH_NOARGS,
     "freeze($self, /)\n--\n\n"
     "Copy the records into private memory, and give their space back to the producer. Returns the batch.\n\n"
     "The batch can be read as before, without end, also when the consumer is closed. Views that are alive get a\n"
     "private copy of their bytes too, so they cannot keep the ring from moving on: use this in a notebook, whose\n"
     "variables _ and Out keep views. Records that were released before are not copied, and must not be read.\n"
     "Raises ClosedError after the release, and MemoryError.\n\n"
     "    batch = consumer.drain().freeze()"},
    {"_end_at", kr_batch_end_at, METH_O, NULL},
    {"_abandon", kr_batch_abandon, METH_NOARGS, NULL},
    {"__enter__", kr_enter, METH_NOARGS, NULL},
    {"__exit__", kr_batch_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};
static PyMemberDef batch_members[] = {
    {"_consumer", T_OBJECT, offsetof(Batch, consumer), READONLY, NULL},
    {"_columns", T_OBJECT, offsetof(Batch, columns), READONLY, NULL},
    {"_ahead", T_OBJECT, offsetof(Batch, ahead), 0, NULL},
    {"_left_at", T_OBJECT, offsetof(Batch, left_at), 0, NULL},
    {"count", T_PYSSIZET, offsetof(Batch, count), READONLY, NULL},
    {"_released", T_PYSSIZET, offsetof(Batch, released), READONLY, NULL},
    {"_held", T_BOOL, offsetof(Batch, held), READONLY, NULL},
    {"_frozen", T_BOOL, offsetof(Batch, frozen), READONLY, NULL},
    {"_position", T_ULONGLONG, offsetof(Batch, position), READONLY, NULL},
    {"more", T_BOOL, offsetof(Batch, more), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyGetSetDef batch_getters[] = {
    {"buffer", batch_buffer, NULL, "All records with headers and padding, as one read-only memoryview. Raises ClosedError after the release.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot batch_slots[] = {
    {Py_tp_new, kr_new},              {Py_tp_methods, batch_methods}, {Py_tp_members, batch_members}, {Py_tp_getset, batch_getters},
    {Py_tp_traverse, batch_traverse}, {Py_tp_clear, batch_clear},     {Py_tp_dealloc, batch_dealloc}, {Py_mp_length, batch_length},
    {Py_sq_length, batch_length},     {Py_sq_item, batch_at},         {Py_mp_subscript, item},        {0, NULL}};
static PyType_Spec batch_spec = {"kevy_ring._calls.BatchCalls", sizeof(Batch), 0, CAN_BE_BASE | Py_TPFLAGS_HAVE_GC, batch_slots};

int kr_add_batches(PyObject *module, kr_state *state) { return kr_add_type(module, &batch_spec, NULL, &state->batch); }
