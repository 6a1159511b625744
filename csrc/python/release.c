/* Ends a batch: by a release, at the end of a `with`, or when the last reference to it is dropped. */
#include <string.h>

#include "python/calls.h"

/* How many SnapshotEnds are among records `first` to `last - 1`. */
uint64_t kr_snapshots_ended(const Batch *batch, Py_ssize_t first, Py_ssize_t last)
{
    uint64_t ended = 0;
    if (batch->consumer->out.frames == (uint64_t)batch->count)
        return 0;
    const uint8_t *kinds = kr_columns_of(batch).kinds;
    for (Py_ssize_t i = first; i < last; i++)
        ended += kinds[i] == KR_KIND_SNAPSHOT_END;
    return ended;
}

/* The position behind the first `upto` records. */
static uint64_t end_of(const Batch *batch, Py_ssize_t upto)
{
    const kr_batch *out = &batch->consumer->out;
    if (upto == batch->count)
        return out->position + out->span;
    if (!upto)
        return out->position;
    struct kr_columns columns = kr_columns_of(batch);
    return out->position + kr_end_of_records(&columns, (uint64_t)upto);
}

/* Marks the batch as over, in this object and in its consumer. */
static void over(Batch *batch)
{
    batch->held = batch->lent = 0;
    if (batch->consumer->open_batch == (PyObject *)batch)
        batch->consumer->open_batch = NULL;
    kr_forget_arguments(batch);
    Py_CLEAR(batch->lender);
}

/* Drops the views that the batch itself keeps. Returns whether the application still has views. */
static int escaped(Batch *batch)
{
    if (!batch->lent)
        return 0;
    kr_forget_arguments(batch);
    Py_CLEAR(batch->root);
    if (batch->lender && kr_escaped(batch->lender))
        return 1;
    batch->lent = 0;
    return 0;
}

/* Ends a batch without releasing more of it: the rest of its records is drained again. This runs no Python code, so it may run in
 * a dealloc, in any thread, and no signal handler interrupts it. Live views keep their bytes: their space stays taken until the
 * next drain, which cuts them off. */
void kr_abandon(Batch *batch)
{
    Consumer *consumer = batch->consumer;
    if (!batch->held)
        return;
    int is_open = consumer->open_batch == (PyObject *)batch;
    if (escaped(batch) && is_open)
        consumer->strays = 1;
    if (is_open && consumer->consumer)
        kr_consumer_release(consumer->consumer, end_of(batch, batch->released), 0, 1);
    over(batch);
}

/* Releases the first `upto` records, which count as `events` events. `done`: the batch is over, even if records are left. 0, or -1
 * with an exception: then nothing has changed. */
static int give_back(Batch *batch, Py_ssize_t upto, uint64_t events, int done)
{
    Consumer *consumer = batch->consumer;
    uint64_t ended = kr_snapshots_ended(batch, batch->released, upto);
    int code = kr_consumer_release(consumer->consumer, end_of(batch, upto), events, done);
    if (code < 0) {
        kr_fault((PyObject *)consumer, code);
        return -1;
    }
    consumer->snapshots_released += ended;
    batch->released = upto;
    if (done)
        over(batch);
    return 0;
}

/* Releases the first `upto` records. 0, or -1 with an exception, which is ViewsEscaped while the application has views. */
int kr_release_first(Batch *batch, Py_ssize_t upto)
{
    if (!batch->held || (upto <= batch->released && upto != batch->count))
        return 0;
    if (!batch->consumer->consumer) {
        kr_raise_closed((PyObject *)batch->consumer, "closed");
        return -1;
    }
    if (escaped(batch)) {
        kr_raise_escaped((PyObject *)batch->consumer, batch->consumer->out.span, "batch");
        return -1;
    }
    return give_back(batch, upto, (uint64_t)(upto - batch->released), upto == batch->count);
}

/* Ends the batch and releases its first `upto` records. Live views get a private copy of their bytes, so that the application sees
 * its own error and can still use the ring. The batch is over in any case; after a failure nothing more is released. 0, or -1
 * with an exception. */
static int end_at(Batch *batch, Py_ssize_t upto)
{
    Consumer *consumer = batch->consumer;
    if (!batch->held || !consumer->consumer)
        return 0;
    if (escaped(batch)) {
        if (kr_done(PyObject_CallMethod((PyObject *)consumer, "_freeze", NULL)) < 0) {
            kr_abandon(batch);
            return -1;
        }
        batch->lent = 0;
        if (!batch->held || !consumer->consumer) /* another thread ended it meanwhile */
            return 0;
    }
    if (upto < batch->released)
        upto = batch->released;
    if (give_back(batch, upto, (uint64_t)(upto - batch->released), 1) < 0) {
        kr_abandon(batch);
        return -1;
    }
    return 0;
}

/* Reads a number of records, from 0 to all of them. -1 with an exception. */
static Py_ssize_t records_of(const Batch *batch, PyObject *number)
{
    Py_ssize_t upto = PyNumber_AsSsize_t(number, PyExc_OverflowError);
    if (upto == -1 && PyErr_Occurred())
        return -1;
    if (upto >= 0 && upto <= batch->count)
        return upto;
    PyErr_Format(PyExc_ValueError, "release of %zd records from a batch of %zd", upto, batch->count);
    return -1;
}

/* ------------------------------------------------------------------------------------------------- the methods */

/* A method that changes a batch also changes its consumer, so it locks both. */
#ifdef Py_GIL_DISABLED
#define WITH_CONSUMER(batch) ((batch)->consumer ? (PyObject *)(batch)->consumer : (PyObject *)(batch))
#endif

PyObject *kr_batch_release(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Batch *batch = (Batch *)self;
    PyObject *number = Py_None;
    if (kr_only_argument(arguments, count, names, "upto", &number) < 0)
        return NULL;
    Py_ssize_t upto = number == Py_None ? batch->count : records_of(batch, number);
    int failed = upto < 0;
    BEGIN_ALONE_WITH(self, WITH_CONSUMER(batch))
    failed = failed || kr_release_first(batch, upto) < 0;
    END_ALONE_WITH()
    return failed ? NULL : Py_NewRef(Py_None);
}

PyObject *kr_batch_end_at(PyObject *self, PyObject *number)
{
    Batch *batch = (Batch *)self;
    Py_ssize_t upto = records_of(batch, number);
    int failed = upto < 0;
    BEGIN_ALONE_WITH(self, WITH_CONSUMER(batch))
    failed = failed || end_at(batch, upto) < 0;
    END_ALONE_WITH()
    return failed ? NULL : Py_NewRef(Py_None);
}

PyObject *kr_batch_abandon(PyObject *self, PyObject *nothing)
{
    BEGIN_ALONE_WITH(self, WITH_CONSUMER((Batch *)self))
    kr_abandon((Batch *)self);
    END_ALONE_WITH()
    Py_RETURN_NONE;
}

/* Copies the records that are not released, and ends the batch. 0, or -1 with an exception. */
static int freeze(Batch *batch)
{
    Py_ssize_t before = batch->released;
    if (!batch->held || !batch->consumer->lender) {
        kr_raise_closed((PyObject *)batch->consumer, batch->held ? "closed" : "released");
        return -1;
    }
    PyObject *copy = batch->whole ? Py_NewRef(batch->whole) : NULL;
    if (!copy) {
        const kr_batch *out = &batch->consumer->out;
        uint64_t skipped = end_of(batch, before) - out->position;
        if (!(copy = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)out->span)))
            return -1;
        char *to = PyBytes_AsString(copy);
        memset(to, 0, skipped);
        memcpy(to + skipped, batch->consumer->lender->at + out->index + skipped, out->span - skipped);
    }
    batch->columns->exposed = 1; /* the next drain must not use them */
    if (end_at(batch, batch->count) < 0) {
        Py_DECREF(copy);
        return -1;
    }
    Py_XDECREF(batch->whole);
    batch->whole = copy;
    batch->released = before;
    batch->frozen = 1;
    return 0;
}

PyObject *kr_batch_freeze(PyObject *self, PyObject *nothing)
{
    Batch *batch = (Batch *)self;
    int failed = 0;
    BEGIN_ALONE_WITH(self, WITH_CONSUMER(batch))
    if (batch->consumer && !batch->frozen)
        failed = freeze(batch) < 0;
    END_ALONE_WITH()
    return failed ? NULL : Py_NewRef(self);
}

/* Releases a fragment, which does not count as an event. */
PyObject *kr_batch_pass(PyObject *self, PyObject *nothing)
{
    Batch *batch = (Batch *)self;
    int failed = 0;
    BEGIN_ALONE_WITH(self, WITH_CONSUMER(batch))
    if (batch->held && batch->consumer->consumer) {
        if (escaped(batch)) /* drops the batch's own view too, which an exception with this batch would keep */
            batch->consumer->strays = 1;
        failed = give_back(batch, batch->count, 0, 1) < 0;
    }
    END_ALONE_WITH()
    return failed ? NULL : Py_NewRef(Py_None);
}

/* After an exit that failed. ViewsEscaped leaves the batch open, so that the application can drop the views and release it. After
 * any other error, such as one from a signal handler, the batch ends here: the variable of the `with` may keep it alive, and an
 * open batch would refuse the next drain. */
static void exit_failed(Batch *batch)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyObject *errors = PyImport_ImportModule("kevy_ring.errors");
    PyObject *views_escaped = errors ? PyObject_GetAttrString(errors, "ViewsEscaped") : NULL;
    if (!views_escaped || !kind || !PyErr_GivenExceptionMatches(kind, views_escaped))
        kr_abandon(batch);
    Py_XDECREF(views_escaped);
    Py_XDECREF(errors);
    PyErr_Restore(kind, value, trace);
}

PyObject *kr_batch_exit(PyObject *self, PyObject *arguments)
{
    Batch *batch = (Batch *)self;
    int failed;
    if (!batch->held)
        Py_RETURN_NONE;
    BEGIN_ALONE_WITH(self, WITH_CONSUMER(batch))
    if (PyTuple_Size(arguments) && PyTuple_GetItem(arguments, 0) == Py_None) {
        failed = kr_release_first(batch, batch->count) < 0;
    } else {
        PyObject *trace = PyTuple_Size(arguments) == 3 ? PyTuple_GetItem(arguments, 2) : Py_None;
        PyObject *finished = PyObject_CallMethod(self, "_finished", "O", trace);
        Py_ssize_t upto = finished ? records_of(batch, finished) : -1;
        Py_XDECREF(finished);
        failed = upto < 0 || end_at(batch, upto) < 0;
    }
    if (failed)
        exit_failed(batch);
    END_ALONE_WITH()
    return failed ? NULL : Py_NewRef(Py_None);
}
