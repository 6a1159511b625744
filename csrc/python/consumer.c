/* The consumer of a ring: drains, and calls that return records as bytes. */
#include "python/calls.h"

/* ------------------------------------------------------------------------------------------------------ the role */

static PyObject *bind_alone(PyObject *self, PyObject *arguments)
{
    Consumer *consumer = (Consumer *)self;
    PyObject *handle, *lender, *old_handle = consumer->handle, *old_lender = (PyObject *)consumer->lender;
    unsigned long long address;
    long long spin_ns;
    if (!PyArg_ParseTuple(arguments, "OKOL", &handle, &address, &lender, &spin_ns))
        return NULL;
    if (address && !PyObject_TypeCheck(lender, (PyTypeObject *)consumer->state->lender)) {
        PyErr_SetString(PyExc_TypeError, "a handle needs the lender of its area");
        return NULL;
    }
    if (address && !consumer->block && !(consumer->block = PyMem_Malloc(KEPT_RECORDS * RECORD_COLUMN_BYTES)))
        return PyErr_NoMemory();
    consumer->consumer = (kr_consumer *)(uintptr_t)address;
    consumer->handle = address ? Py_NewRef(handle) : NULL;
    consumer->lender = address ? (Lender *)Py_NewRef(lender) : NULL;
    consumer->capacity = address ? consumer->consumer->capacity : 0;
    consumer->spin_ns = spin_ns;
    Py_XDECREF(old_handle);
    Py_XDECREF(old_lender);
    Py_RETURN_NONE;
}

/* Takes the role at the first use, and cuts off the views that outlived an abandoned batch. 0, or -1 with an exception, which is
 * ClosedError for a closed handle. */
int kr_consumer_claim(Consumer *consumer)
{
    if (!consumer->consumer && kr_done(PyObject_CallMethod((PyObject *)consumer, "_claim", NULL)) < 0)
        return -1;
    if (consumer->strays && kr_done(PyObject_CallMethod((PyObject *)consumer, "_freeze", NULL)) < 0)
        return -1;
    if (consumer->consumer)
        return 0;
    kr_raise_closed((PyObject *)consumer, "closed"); /* another thread closed it meanwhile */
    return -1;
}

static void consumer_dealloc(PyObject *self)
{
    Consumer *consumer = (Consumer *)self;
    PyMem_Free(consumer->block);
    Py_XDECREF(consumer->handle);
    Py_XDECREF((PyObject *)consumer->lender);
    Py_XDECREF((PyObject *)consumer->columns);
    Py_XDECREF((PyObject *)consumer->spare);
    Py_XDECREF(consumer->no_records);
    kr_free(self);
}

/* ------------------------------------------------------------------------------------------------------- batches */

/* Makes the batch of what the core has just drained. Its class is that of `no_records`. No Python code and no signal handler runs
 * between the drain and this call, so each drain gets a batch that will end it. */
static PyObject *new_batch(Consumer *consumer, Py_ssize_t count)
{
    int collects = PyGC_Disable();
    Batch *batch = (Batch *)kr_alloc(consumer->state, (PyObject *)Py_TYPE(consumer->no_records));
    kr_resume_gc(collects);
    if (!batch) {
        kr_consumer_release(consumer->consumer, consumer->out.position, 0, 1);
        return NULL;
    }
    batch->consumer = (Consumer *)Py_NewRef((PyObject *)consumer);
    batch->columns = (Columns *)Py_NewRef((PyObject *)consumer->columns);
    batch->count = count;
    batch->position = consumer->out.position;
    batch->held = 1;
    batch->more = consumer->out.more != 0;
    consumer->open_batch = (PyObject *)batch;
    return (PyObject *)batch;
}

/* Chooses the columns for a drain: those of the last drain, the spare ones, or new ones. Two are kept for a caller that alternates
 * between one record and many. While a batch is open nothing is chosen: the core refuses the drain and does not write to the
 * columns. 0, or -1 with an exception. */
static int choose_columns(Consumer *consumer, uint64_t records)
{
    Columns *last = consumer->columns, *spare = consumer->spare;
    if (last && last->asked == records && !last->exposed)
        return 0;
    if (last && consumer->open_batch)
        return 0;
    if (!spare || spare->asked != records || spare->exposed) {
        uint64_t room = consumer->capacity / KR_RECORD_BYTES;
        Columns *fresh = kr_columns_new(consumer->state, records < room ? records : room, records);
        if (!fresh)
            return -1;
        Py_XDECREF((PyObject *)spare);
        spare = fresh;
    }
    consumer->columns = spare;
    consumer->spare = last;
    return 0;
}

/* Drains at most so many records and bytes. The batch is `no_records` if there is nothing. NULL with an exception. */
PyObject *kr_drain(Consumer *consumer, uint64_t records, uint64_t bytes)
{
    if (kr_consumer_ready(consumer) < 0 || choose_columns(consumer, records) < 0)
        return NULL;
    const Columns *into = consumer->columns;
    int64_t count = kr_consumer_drain(consumer->consumer, into->room, bytes, into->memory, &consumer->out);
    if (count < 0)
        return kr_fault((PyObject *)consumer, count);
    return count ? new_batch(consumer, (Py_ssize_t)count) : Py_NewRef(consumer->no_records);
}

/* The method `drain` of both classes. `records` is the name of its first argument. */
PyObject *kr_drain_method(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *records)
{
    const char *known[] = {records, "max_bytes"};
    PyObject *found[] = {NULL, Py_None};
    uint64_t most = KEPT_RECORDS, bytes = UINT64_MAX;
    if (kr_two_arguments(arguments, count, names, known, found) < 0 || (found[0] && kr_limit_of(found[0], &most) < 0) ||
        (found[1] != Py_None && kr_limit_of(found[1], &bytes) < 0))
        return NULL;
    Consumer *consumer = (Consumer *)self;
    for (;;) {
        if (consumer->careful && kr_done(PyObject_CallMethod(self, "_before_drain", NULL)) < 0)
            return NULL;
        PyObject *batch = kr_drain(consumer, most, bytes);
        if (!batch || batch == consumer->no_records || !(consumer->out.fragment || consumer->careful))
            return batch;
        PyObject *is_whole = PyObject_CallMethod(self, "_take_fragment", "Oi", batch, (int)consumer->out.fragment);
        int whole = is_whole ? PyObject_IsTrue(is_whole) : -1;
        Py_XDECREF(is_whole);
        if (whole > 0)
            return batch;
        if (whole < 0)
            kr_abandon((Batch *)batch); /* the traceback keeps it alive, and an open batch would refuse the next drain */
        Py_DECREF(batch);
        if (whole < 0)
            return NULL;
    }
}

static PyObject *drain_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    return kr_drain_method(self, arguments, count, names, "max_records");
}

static PyObject *open_batch(PyObject *self, void *nothing)
{
    PyObject *batch = ((Consumer *)self)->open_batch;
    return Py_NewRef(batch ? batch : Py_None);
}

/* -------------------------------------------------------------------------------------- records without a batch */

static PyObject *record_at(const Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t i)
{
    return PyBytes_FromStringAndSize(consumer->consumer->data + batch->index + columns->starts[i], (Py_ssize_t)columns->lengths[i]);
}

/* All records of a drain, as a list of bytes. NULL with an exception. */
static PyObject *records_list(const Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns)
{
    int collects = PyGC_Disable();
    PyObject *list = PyList_New((Py_ssize_t)batch->count);
    for (uint32_t i = 0; list && i < batch->count; i++) {
        PyObject *record = record_at(consumer, batch, columns, i);
        if (!record || PyList_SetItem(list, (Py_ssize_t)i, record) < 0)
            Py_CLEAR(list);
    }
    kr_resume_gc(collects);
    return list;
}

static PyObject *read_many_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t given_count, PyObject *names)
{
    Consumer *consumer = (Consumer *)self;
    kr_batch batch;
    uint64_t most;
    if (kr_how_many(arguments, given_count, names, "max_records", &most) < 0 || kr_consumer_ready(consumer) < 0)
        return NULL;
    uint64_t room = consumer->capacity / KR_RECORD_BYTES;
    most = most < room ? most : room;
    char *block = most <= KEPT_RECORDS ? consumer->block : PyMem_Malloc(RECORD_COLUMN_BYTES * most);
    if (!block)
        return PyErr_NoMemory();
    int64_t count = kr_drain_apart(consumer, most, block, &batch);
    PyObject *list = count ? NULL : PyList_New(0);
    if (count > 0) {
        struct kr_columns columns = kr_split_columns(block, most);
        list = kr_given(consumer, &batch, &columns, (uint64_t)count, records_list(consumer, &batch, &columns));
    }
    if (block != consumer->block)
        PyMem_Free(block);
    return list;
}

static PyObject *take_record(Consumer *consumer)
{
    kr_batch batch;
    int64_t count = kr_consumer_ready(consumer) < 0 ? -1 : kr_drain_apart(consumer, 1, consumer->block, &batch);
    if (count <= 0)
        return NULL;
    struct kr_columns columns = kr_split_columns(consumer->block, 1);
    return kr_given(consumer, &batch, &columns, 1, record_at(consumer, &batch, &columns, 0));
}

static PyObject *try_read_alone(PyObject *self, PyObject *nothing) { return kr_take_now((Consumer *)self, take_record); }

static PyObject *read_one_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    return kr_take_within((Consumer *)self, take_record, arguments, count, names);
}

/* -------------------------------------------------------------------------------------------------------- strays */

/* Gives the views of a batch that has ended, or is about to end, a private copy of its bytes. The consumer gets the area of the
 * lender `fresh`. Both happen in one call, so that no signal handler can run in between. */
static PyObject *cut_off_strays_alone(PyObject *self, PyObject *fresh)
{
    Consumer *consumer = (Consumer *)self;
    Lender *before = consumer->lender;
    if (!PyObject_TypeCheck(fresh, (PyTypeObject *)consumer->state->lender))
        return PyErr_Format(PyExc_TypeError, "not a lender: %R", fresh);
    if (consumer->consumer && kr_escaped(before)) {
        int code = kr_area_freeze(before->at, before->index, before->length);
        if (code < 0)
            return kr_fault(self, code);
        kr_consumer_rebase(consumer->consumer, ((Lender *)fresh)->at);
        consumer->lender = (Lender *)Py_NewRef(fresh);
        Py_DECREF(before);
    }
    consumer->strays = 0;
    Py_RETURN_NONE;
}

ALONE(bind)
ALONE_FAST(drain)
ALONE_FAST(read_many)
ALONE(try_read)
ALONE_FAST(read_one)
ALONE(cut_off_strays)

static PyMethodDef consumer_methods[] = {
    {"_bind", bind, METH_VARARGS, NULL},
    {"_cut_off_strays", cut_off_strays, METH_O, NULL},
    {"drain", FAST(drain),
     "drain($self, max_records=1024, max_bytes=None)\n--\n\n"
     "Take the waiting records as a batch: at most max_records, of together at most max_bytes. Never waits.\n\n"
     "One record is taken even if it is larger than max_bytes. If nothing waits, the batch is empty. The batch is a\n"
     "context manager; leaving it gives the space back to the producer:\n\n"
     "    with consumer.drain() as batch:\n        records = [bytes(record) for record in batch]\n\n"
     "Raises BatchOpen while the previous batch is open, CorruptRing if the ring holds bytes that no producer writes,\n"
     "ValueError for a maximum below 1, and ClosedError."},
    {"read_many", FAST(read_many),
     "read_many($self, max_records=1024)\n--\n\n"
     "Take up to max_records records as bytes; an empty list if nothing waits. Never waits.\n\n"
     "Their space is given back before the call returns. Raises as drain; never RecvError."},
    {"try_read", try_read, METH_NOARGS,
     "try_read($self, /)\n--\n\n"
     "Take the next record as bytes; None if nothing waits. Never waits.\n\n"
     "Raises RecvError when the producer is gone and all its records were taken; else as drain."},
    {"read", FAST(read_one),
     "read($self, timeout=None)\n--\n\n"
     "Wait up to timeout seconds (None: without limit) for the next record, as bytes; None when the time is up.\n\n"
     "Raises RecvError when the producer is gone and all its records were taken; else as drain."},
    {NULL, NULL, 0, NULL}};
static PyMemberDef consumer_members[] = {
    {"_careful", T_BOOL, offsetof(Consumer, careful), 0, NULL},
    {"_lender", T_OBJECT, offsetof(Consumer, lender), READONLY, NULL},
    {"_nothing", T_OBJECT, offsetof(Consumer, no_records), 0, NULL},
    {"_snapshots_released", T_ULONGLONG, offsetof(Consumer, snapshots_released), 0, NULL},
    {"_position", T_ULONGLONG, offsetof(Consumer, out) + offsetof(kr_batch, position), READONLY, NULL},
    {"_flags", T_UINT, offsetof(Consumer, out) + offsetof(kr_batch, flags), READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyGetSetDef consumer_getters[] = {{"_open_batch", open_batch, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot consumer_slots[] = {{Py_tp_new, kr_new},
                                       {Py_tp_methods, consumer_methods},
                                       {Py_tp_members, consumer_members},
                                       {Py_tp_getset, consumer_getters},
                                       {Py_tp_dealloc, consumer_dealloc},
                                       {0, NULL}};
static PyType_Spec consumer_spec = {"kevy_ring._calls.ConsumerCalls", sizeof(Consumer), 0, CAN_BE_BASE, consumer_slots};

int kr_add_consumer(PyObject *module, kr_state *state) { return kr_add_type(module, &consumer_spec, NULL, &state->consumer); }
