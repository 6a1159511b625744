/* The calls that an application makes for every record, or for a list of them, as methods of the interpreter: a call
 * through cffi costs twice what the record does. They take what is plain (bytes; Frame with a list of bytes) and leave
 * all else, every error included, to a method of the same object written in Python, which is named beside each.
 *
 * They keep the interpreter's lock where they do not wait: no lock of the core is ever held by somebody who waits for
 * it. While they look at arguments they run no Python code, so what they point at stays. */
#include <stdio.h>
#include <unistd.h>

#include "python/calls.h"

#define ON_STACK 64               /* pieces for which no memory is asked */
#define KEPT_RECORDS 1024u        /* columns that a consumer keeps */
#define NANO 1000000000.0

static PyObject *frame_type, *chunk_type, *name_offset, *name_argv, *name_data;

PyObject *kr_leave_to(PyObject *self, const char *method, PyObject *argument)
{
    return argument ? PyObject_CallMethod(self, method, "(O)", argument) : PyObject_CallMethod(self, method, NULL);
}

/* 1: a piece of plain bytes; 0: something else. */
static int take_piece(PyObject *object, kr_piece *piece)
{
    char *bytes;
    Py_ssize_t length;
    if (!PyBytes_CheckExact(object) || PyBytes_AsStringAndSize(object, &bytes, &length) < 0)
        return 0;
    piece->bytes = bytes;
    piece->length = (uint64_t)length;
    return 1;
}

/* ------------------------------------------------------------------------------------------------ producers */

static PyObject *producer_bind(PyObject *self, PyObject *arguments)
{
    ProducerCalls *calls = (ProducerCalls *)self;
    PyObject *handle, *before = calls->handle;
    unsigned long long address;
    if (!PyArg_ParseTuple(arguments, "OK", &handle, &address))
        return NULL;
    Py_INCREF(handle);
    calls->handle = handle;
    calls->producer = (kr_producer *)(uintptr_t)address;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyObject *sender_bind(PyObject *self, PyObject *arguments)
{
    ProducerCalls *calls = (ProducerCalls *)self;
    PyObject *bound = producer_bind(self, arguments);
    if (bound) {
        calls->sender = (kr_sender *)calls->producer;
        calls->producer = calls->sender ? kr_sender_producer(calls->sender) : NULL;
    }
    return bound;
}

static void producer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((ProducerCalls *)self)->handle);
    Py_XDECREF(((ProducerCalls *)self)->lender);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *try_write(PyObject *self, PyObject *record)
{
    kr_producer *producer = ((ProducerCalls *)self)->producer;
    kr_piece piece;
    if (producer && take_piece(record, &piece) && piece.length < LARGE_BYTES) {
        int64_t done = kr_producer_write_pieces(producer, &piece, 1);
        if (done >= 0)
            return PyBool_FromLong((long)done);
    }
    return kr_leave_to(self, "_try_write", record);
}

/* The pieces of a list of bytes: 1. 0: it holds something else, or a lot. -1: no memory. */
static int list_pieces(PyObject *list, Py_ssize_t count, kr_piece **pieces)
{
    uint64_t total = 0;
    if (count > ON_STACK && !(*pieces = PyMem_Malloc((size_t)count * sizeof **pieces)))
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!take_piece(PyList_GetItem(list, i), *pieces + i))
            return 0;
        total += (*pieces)[i].length;
    }
    return total < LARGE_BYTES;
}

static PyObject *write_many(PyObject *self, PyObject *records)
{
    kr_producer *producer = ((ProducerCalls *)self)->producer;
    kr_piece few[ON_STACK], *pieces = few;
    if (!producer || !PyList_CheckExact(records))
        return kr_leave_to(self, "_write_many", records);
    Py_ssize_t count = PyList_Size(records);
    int plain = list_pieces(records, count, &pieces);
    int64_t done = plain > 0 ? kr_producer_write_pieces(producer, pieces, (uint64_t)count) : -1;
    if (pieces != few)
        PyMem_Free(pieces);
    if (plain < 0)
        return PyErr_NoMemory();
    return done >= 0 ? PyLong_FromLongLong(done) : kr_leave_to(self, "_write_many", records);
}

/* How many arguments a list or a tuple of plain bytes holds; 0: none, too many, too long, or something else. */
static uint32_t take_argv(PyObject *argv, kr_piece *pieces, uint64_t room, uint64_t *total)
{
    int listed = PyList_CheckExact(argv);
    if (!listed && !PyTuple_CheckExact(argv))
        return 0;
    Py_ssize_t count = listed ? PyList_Size(argv) : PyTuple_Size(argv);
    if ((uint64_t)count > room)
        return 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!take_piece(listed ? PyList_GetItem(argv, i) : PyTuple_GetItem(argv, i), pieces + i))
            return 0;
        *total += pieces[i].length;
    }
    return *total < LARGE_BYTES ? (uint32_t)count : 0;
}

/* One frame's offset and arguments: how many pieces, 0 when it is not plain. No Python code runs: the type is exactly
 * Frame, whose two attributes are slots. Its arguments are kept by it. */
static uint32_t take_frame(PyObject *frame, uint64_t *offset, kr_piece *pieces, uint64_t room, uint64_t *total)
{
    uint32_t argc = 0;
    if ((PyObject *)Py_TYPE(frame) != frame_type)
        return 0;
    PyObject *number = PyObject_GetAttr(frame, name_offset), *argv = PyObject_GetAttr(frame, name_argv);
    if (number && argv && PyLong_CheckExact(number)) {
        *offset = PyLong_AsUnsignedLongLong(number);
        if (*offset != UINT64_MAX || !PyErr_Occurred())
            argc = take_argv(argv, pieces, room, total);
    }
    if (PyErr_Occurred())
        PyErr_Clear();
    Py_XDECREF(number);
    Py_XDECREF(argv);
    return argc;
}

/* What is left to do after a send: nothing, mostly. `event`: one, or the list; for what follows the first `accepted` of
 * `count` there was no memory. */
static PyObject *after_send(PyObject *self, int code, PyObject *event, uint64_t count, uint64_t accepted)
{
    if (!(code & KR_SEND_NO_THREAD) && accepted == count)
        Py_RETURN_NONE;
    return PyObject_CallMethod(self, "_acted", "iOK", code, event, (unsigned long long)accepted);
}

static PyObject *send_one(PyObject *self, PyObject *event)
{
    kr_sender *sender = ((ProducerCalls *)self)->sender;
    kr_piece pieces[ON_STACK];
    uint64_t offset, accepted = 0, total = 0;
    uint32_t argc = sender ? take_frame(event, &offset, pieces, ON_STACK, &total) : 0;
    int code = argc ? kr_send_pieces(sender, 1, NULL, &offset, &argc, pieces, &accepted) : -1;
    return code < 0 ? kr_leave_to(self, "_send", event) : after_send(self, code, event, 1, accepted);
}

struct list_of_frames {
    uint64_t *offsets;
    uint32_t *argcs;
    kr_piece *pieces;
    uint64_t room;
};

static void forget(struct list_of_frames *frames)
{
    PyMem_Free(frames->offsets);
    PyMem_Free(frames->argcs);
    PyMem_Free(frames->pieces);
}

/* 1: all are plain; 0: one is not; -1: no memory. */
static int take_frames(PyObject *events, Py_ssize_t count, struct list_of_frames *frames)
{
    uint64_t used = 0, total = 0;
    frames->room = 4 * (uint64_t)count + ON_STACK;
    frames->offsets = PyMem_Malloc((size_t)count * sizeof *frames->offsets);
    frames->argcs = PyMem_Malloc((size_t)count * sizeof *frames->argcs);
    frames->pieces = PyMem_Malloc(frames->room * sizeof *frames->pieces);
    if (!frames->offsets || !frames->argcs || !frames->pieces)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (frames->room - used < ON_STACK) {
            kr_piece *more = PyMem_Realloc(frames->pieces, 2 * frames->room * sizeof *more);
            if (!more)
                return -1;
            frames->pieces = more;
            frames->room *= 2;
        }
        uint32_t argc =
            take_frame(PyList_GetItem(events, i), frames->offsets + i, frames->pieces + used, frames->room - used, &total);
        if (!argc)
            return 0;
        frames->argcs[i] = argc;
        used += argc;
    }
    return 1;
}

static PyObject *send_many(PyObject *self, PyObject *events)
{
    kr_sender *sender = ((ProducerCalls *)self)->sender;
    struct list_of_frames frames = {NULL, NULL, NULL, 0};
    if (!sender || !PyList_CheckExact(events) || PyList_Size(events) == 0)
        return kr_leave_to(self, "_send_many", events);
    Py_ssize_t count = PyList_Size(events);
    uint64_t accepted = 0;
    int plain = take_frames(events, count, &frames), code = -1;
    if (plain > 0)
        code = kr_send_pieces(sender, (uint64_t)count, NULL, frames.offsets, frames.argcs, frames.pieces, &accepted);
    forget(&frames);
    if (plain < 0) /* nor for the core to be asked: none was taken */
        return after_send(self, 0, events, (uint64_t)count, 0);
    if (code < 0)
        return kr_leave_to(self, "_send_many", events);
    return after_send(self, code, events, (uint64_t)count, accepted);
}

/* ------------------------------------------------------------------------------------------------ consumers */

static PyObject *consumer_bind(PyObject *self, PyObject *arguments)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    PyObject *handle, *before = calls->handle;
    unsigned long long address;
    long long spin_ns;
    if (!PyArg_ParseTuple(arguments, "OKL", &handle, &address, &spin_ns))
        return NULL;
    if (!calls->columns && !(calls->columns = PyMem_Malloc(KEPT_RECORDS * 25u)))
        return PyErr_NoMemory();
    Py_INCREF(handle);
    calls->handle = handle;
    calls->consumer = (kr_consumer *)(uintptr_t)address;
    calls->spin_ns = spin_ns;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static void consumer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ConsumerCalls *calls = (ConsumerCalls *)self;
    PyMem_Free(calls->columns);
    Py_XDECREF(calls->handle);
    Py_XDECREF(calls->lender);
    Py_XDECREF(calls->area);
    Py_XDECREF(calls->batch_columns);
    Py_XDECREF(calls->no_records);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* Where the open batch is described, for the long way. */
static PyObject *place_of_out(PyObject *self, PyObject *nothing)
{
    return PyLong_FromUnsignedLongLong((uintptr_t)&((ConsumerCalls *)self)->out);
}

/* Takes the role at the first use. 0, or -1 with an exception: of a closed handle too. */
static int claim(PyObject *self)
{
    if (((ConsumerCalls *)self)->consumer)
        return 0;
    PyObject *handle = PyObject_CallMethod(self, "_claim", NULL);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

/* A batch of at most `most` records, with its columns. Negative: the long way knows why. */
static int64_t drain(ConsumerCalls *calls, uint64_t most, kr_batch *batch, struct kr_columns *columns)
{
    if (calls->careful || calls->strays)
        return -1;
    most = most < KEPT_RECORDS ? most : KEPT_RECORDS;
    *columns = kr_split_columns(calls->columns, most);
    int64_t count = kr_consumer_drain(calls->consumer, most, UINT64_MAX, calls->columns, batch);
    if (count > 0 && batch->fragment) {
        kr_consumer_release(calls->consumer, batch->position, 0, 1);
        return -1;
    }
    return count;
}

/* Gives the first `taken` of a batch back; what lies behind is drained again. 0, or -1 with an exception. */
static int give_back(PyObject *self, const kr_batch *batch, const struct kr_columns *columns, uint64_t taken)
{
    uint64_t end = batch->position;
    if (taken == batch->count)
        end += batch->span;
    else if (taken)
        end += (columns->starts[taken - 1] + columns->lengths[taken - 1] + 7) & ~7ull;
    int code = kr_consumer_release(((ConsumerCalls *)self)->consumer, end, taken, 1);
    if (code < 0) {
        PyObject *nothing = PyObject_CallMethod(self, "_refused", "i", code);
        Py_XDECREF(nothing);
        return -1;
    }
    return 0;
}

static PyObject *record_at(const ConsumerCalls *calls, const kr_batch *batch, const struct kr_columns *columns, uint64_t i)
{
    return PyBytes_FromStringAndSize(calls->consumer->data + batch->index + columns->starts[i], (Py_ssize_t)columns->lengths[i]);
}

/* A result, after the space of what it holds was given back; NULL when either failed. */
static PyObject *given(PyObject *self, const kr_batch *batch, const struct kr_columns *columns, uint64_t taken, PyObject *result)
{
    PyObject *kind, *value, *trace;
    if (!result) { /* nothing is lost: all of it is drained again */
        PyErr_Fetch(&kind, &value, &trace);
        kr_consumer_release(((ConsumerCalls *)self)->consumer, batch->position, 0, 1);
        PyErr_Restore(kind, value, trace);
        return NULL;
    }
    if (give_back(self, batch, columns, taken) < 0) {
        Py_DECREF(result);
        return NULL;
    }
    return result;
}

/* Between a drain and its release no garbage is collected: a finalizer is any code at all, and might close this very
 * consumer. Nor would it be worth while, for objects that have just been made. */
static PyObject *records_list(const ConsumerCalls *calls, const kr_batch *batch, const struct kr_columns *columns)
{
    int collects = PyGC_Disable();
    PyObject *list = PyList_New((Py_ssize_t)batch->count);
    for (uint32_t i = 0; list && i < batch->count; i++) {
        PyObject *record = record_at(calls, batch, columns, i);
        if (!record || PyList_SetItem(list, (Py_ssize_t)i, record) < 0)
            Py_CLEAR(list);
    }
    if (collects)
        PyGC_Enable();
    return list;
}

/* The one optional argument of a method, by its place or by `name`, in `*found`. 0, or -1 with an exception. */
int kr_only_argument(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, PyObject **found)
{
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    if (count + named > 1) {
        PyErr_Format(PyExc_TypeError, "at most one argument is taken, %zd were given", count + named);
        return -1;
    }
    if (named && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), name)) {
        PyErr_Format(PyExc_TypeError, "unexpected keyword argument %R", PyTuple_GetItem(names, 0));
        return -1;
    }
    if (count + named)
        *found = arguments[0];
    return 0;
}

/* How many at most; 0 with an exception when that is no positive number. */
static uint64_t how_many(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name)
{
    PyObject *number = NULL;
    if (kr_only_argument(arguments, count, names, name, &number) < 0)
        return 0;
    long long most = number ? PyLong_AsLongLong(number) : KEPT_RECORDS;
    if (most == -1 && PyErr_Occurred())
        return 0;
    if (most < 1)
        PyErr_SetString(PyExc_ValueError, "a drain takes at least one record and one byte");
    return most < 1 ? 0 : (uint64_t)most;
}

static PyObject *read_many(PyObject *self, PyObject *const *arguments, Py_ssize_t given_count, PyObject *names)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    kr_batch batch;
    struct kr_columns columns;
    uint64_t most = how_many(arguments, given_count, names, "max_records");
    if (!most || claim(self) < 0)
        return NULL;
    int64_t count = most > KEPT_RECORDS ? -1 : drain(calls, most, &batch, &columns);
    if (count == 0)
        return PyList_New(0);
    if (count < 0)
        return PyObject_CallMethod(self, "_read_many", "K", (unsigned long long)most);
    return given(self, &batch, &columns, (uint64_t)count, records_list(calls, &batch, &columns));
}

/* The end of argument `i` of a frame; read once, for it is another process's claim. */
static uint32_t end_of(const char *payload, uint32_t i)
{
    return *(const volatile uint32_t *)(const void *)(payload + 4 + 4 * (uint64_t)i);
}

static PyObject *argv_of(const char *payload, uint32_t length, uint32_t argc)
{
    uint64_t head = 4 + 4 * (uint64_t)argc, total = length - head;
    uint32_t last = 0;
    PyObject *argv = PyList_New((Py_ssize_t)argc);
    for (uint32_t i = 0; argv && i < argc; i++) {
        uint32_t end = end_of(payload, i);
        PyObject *argument = NULL;
        if (end < last || end > total)
            PyErr_SetString(PyExc_ValueError, "end position of an argument");
        else
            argument = PyBytes_FromStringAndSize(payload + head + last, (Py_ssize_t)(end - last));
        if (!argument || PyList_SetItem(argv, (Py_ssize_t)i, argument) < 0)
            Py_CLEAR(argv);
        last = end;
    }
    return argv;
}

/* An object of a class whose attributes are slots, without the call of its __init__. Takes `value`. */
static PyObject *new_event(PyObject *type, PyObject *name, PyObject *value)
{
    if (!value)
        return NULL;
    PyObject *event = ((allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc))((PyTypeObject *)type, 0);
    if (event && PyObject_SetAttr(event, name, value) < 0)
        Py_CLEAR(event);
    Py_DECREF(value);
    return event;
}

static PyObject *made_event(const ConsumerCalls *calls, const kr_batch *batch, const struct kr_columns *columns, uint64_t i)
{
    if (columns->kinds[i] == KR_KIND_SNAPSHOT_CHUNK)
        return new_event(chunk_type, name_data, record_at(calls, batch, columns, i));
    const char *payload = calls->consumer->data + batch->index + columns->starts[i];
    PyObject *event = new_event(frame_type, name_argv, argv_of(payload, columns->lengths[i], columns->argcs[i]));
    PyObject *offset = event ? PyLong_FromUnsignedLongLong(columns->offsets[i]) : NULL;
    if (event && (!offset || PyObject_SetAttr(event, name_offset, offset) < 0))
        Py_CLEAR(event);
    Py_XDECREF(offset);
    return event;
}

static PyObject *event_at(const ConsumerCalls *calls, const kr_batch *batch, const struct kr_columns *columns, uint64_t i)
{
    int collects = PyGC_Disable(); /* see records_list() */
    PyObject *event = made_event(calls, batch, columns, i);
    if (collects)
        PyGC_Enable();
    return event;
}

/* How many of a batch are frames and chunks in front of the first other event. */
static uint64_t plain_events(const struct kr_columns *columns, uint64_t count)
{
    uint64_t plain = 0;
    while (plain < count && (columns->kinds[plain] == KR_KIND_FRAME || columns->kinds[plain] == KR_KIND_SNAPSHOT_CHUNK))
        plain++;
    return plain;
}

/* The next event, or NULL: with an exception, or with none and `*empty` set (nothing there) or not (the long way). */
static PyObject *take_event(PyObject *self, int *empty)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    kr_batch batch;
    struct kr_columns columns;
    int64_t count = drain(calls, 1, &batch, &columns);
    *empty = count == 0;
    if (count <= 0)
        return NULL;
    PyObject *event = plain_events(&columns, 1) ? event_at(calls, &batch, &columns, 0) : NULL;
    if (!event && (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_ValueError))) {
        PyErr_Clear();
        kr_consumer_release(calls->consumer, batch.position, 0, 1);
        return NULL;
    }
    return given(self, &batch, &columns, 1, event);
}

static PyObject *take_record(PyObject *self, int *empty)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    kr_batch batch;
    struct kr_columns columns;
    int64_t count = drain(calls, 1, &batch, &columns);
    *empty = count == 0;
    return count <= 0 ? NULL : given(self, &batch, &columns, 1, record_at(calls, &batch, &columns, 0));
}

typedef PyObject *(*take_one)(PyObject *self, int *empty);

static PyObject *take_or(PyObject *self, take_one take, const char *long_way)
{
    int empty;
    kr_role_info info;
    if (claim(self) < 0)
        return NULL;
    PyObject *found = take(self, &empty);
    if (found || PyErr_Occurred())
        return found;
    if (empty && !kr_consumer_peer(((ConsumerCalls *)self)->consumer, &info))
        Py_RETURN_NONE;
    return PyObject_CallMethod(self, long_way, NULL);
}

static PyObject *try_read(PyObject *self, PyObject *nothing) { return take_or(self, take_record, "_try_read"); }
static PyObject *try_recv(PyObject *self, PyObject *nothing) { return take_or(self, take_event, "_try_recv"); }

/* Seconds as a method takes them: 1 and the nanoseconds (-1: for ever), or 0 with an exception. */
static int how_long(PyObject *const *arguments, Py_ssize_t count, PyObject *names, int64_t *timeout_ns)
{
    PyObject *seconds = Py_None;
    if (kr_only_argument(arguments, count, names, "timeout", &seconds) < 0)
        return 0;
    *timeout_ns = -1;
    if (seconds == Py_None)
        return 1;
    double value = PyFloat_AsDouble(seconds);
    if (value == -1.0 && PyErr_Occurred())
        return 0;
    if (value != value) {
        PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds, or None to wait without end: nan");
        return 0;
    }
    *timeout_ns = value <= 0 ? 0 : value > 9e9 ? -1 : (int64_t)(value * NANO);
    return 1;
}

/* Sleeps, without the interpreter's lock, until there may be something to take. 1: look; 0: time is up; -1: a signal's
 * handler raised. The handle is kept alive meanwhile: another thread may close it. */
static int sleep_on(ConsumerCalls *calls, int64_t left_ns)
{
    PyObject *handle = calls->handle;
    kr_consumer *consumer = calls->consumer;
    int64_t spin_ns = calls->spin_ns;
    int code;
    Py_INCREF(handle);
    Py_BEGIN_ALLOW_THREADS
    code = kr_consumer_wait(consumer, left_ns, spin_ns);
    Py_END_ALLOW_THREADS
    Py_DECREF(handle);
    if (code == KR_WAIT_INTERRUPTED && PyErr_CheckSignals() < 0)
        return -1;
    return code != KR_WAIT_TIMEOUT;
}

static PyObject *wait_for(PyObject *self, take_one take, int64_t timeout_ns, const char *long_way)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    uint64_t deadline = timeout_ns > 0 ? kr_now_ns() + (uint64_t)timeout_ns : 0;
    for (;;) {
        PyObject *found = take_or(self, take, long_way);
        if (found != Py_None)
            return found;
        uint64_t now = timeout_ns > 0 ? kr_now_ns() : 0;
        int64_t left = timeout_ns < 0 ? -1 : now < deadline ? (int64_t)(deadline - now) : 0;
        if (left == 0)
            return found;
        Py_DECREF(found);
        if (sleep_on(calls, left) < 0)
            return NULL;
    }
}

static PyObject *read_one(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    int64_t timeout_ns;
    return how_long(arguments, count, names, &timeout_ns) ? wait_for(self, take_record, timeout_ns, "_try_read") : NULL;
}

static PyObject *recv(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    int64_t timeout_ns;
    return how_long(arguments, count, names, &timeout_ns) ? wait_for(self, take_event, timeout_ns, "_try_recv") : NULL;
}

static PyObject *events_list(const ConsumerCalls *calls, const kr_batch *batch, const struct kr_columns *columns, uint64_t count)
{
    int collects = PyGC_Disable(); /* see records_list() */
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint64_t i = 0; list && i < count; i++) {
        PyObject *event = made_event(calls, batch, columns, i);
        if (!event || PyList_SetItem(list, (Py_ssize_t)i, event) < 0)
            Py_CLEAR(list);
    }
    if (collects)
        PyGC_Enable();
    return list;
}

static PyObject *recv_many(PyObject *self, PyObject *const *arguments, Py_ssize_t given_count, PyObject *names)
{
    ConsumerCalls *calls = (ConsumerCalls *)self;
    kr_batch batch;
    struct kr_columns columns;
    uint64_t most = how_many(arguments, given_count, names, "max_events");
    if (!most || claim(self) < 0)
        return NULL;
    int64_t count = drain(calls, most, &batch, &columns);
    kr_role_info info;
    if (count == 0 && !kr_consumer_peer(calls->consumer, &info))
        return PyList_New(0);
    if (count > 0) {
        uint64_t plain = plain_events(&columns, (uint64_t)count);
        PyObject *list = plain ? events_list(calls, &batch, &columns, plain) : NULL;
        if (list || (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_ValueError)))
            return given(self, &batch, &columns, plain, list);
        PyErr_Clear(); /* a marker, or a frame that is not right: one event the long way */
        kr_consumer_release(calls->consumer, batch.position, 0, 1);
    }
    return PyObject_CallMethod(self, "_recv_some", NULL);
}

/* -------------------------------------------------------------------------------------------------- the module */

#define NAMED(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef producer_methods[] = {
    {"_bind", producer_bind, METH_VARARGS, NULL},
    {"try_write", try_write, METH_O,
     "try_write($self, record, /)\n--\n\n"
     "Write and publish one record of any bytes-like object. False: full now.\n\n"
     "Raises ValueError for a record larger than the ring, SendError when the consumer is gone, ClosedError."},
    {"write_many", write_many, METH_O,
     "write_many($self, records, /)\n--\n\n"
     "Write a list of records in order until one does not fit; one publish. Returns how many fitted.\n\n"
     "Raises as try_write."},
    {"try_reserve", NAMED(kr_try_reserve), METH_FASTCALL | METH_KEYWORDS,
     "try_reserve($self, length)\n--\n\n"
     "Space for one record of at most length bytes, to be written in place. None: full now.\n\n"
     "One grant at a time. Raises ValueError for what is larger than the ring."},
    {"_reserve", kr_reserve, METH_O, NULL},
    {"publish", kr_publish, METH_NOARGS,
     "publish($self, /)\n--\n\n"
     "Reveal all committed records to the consumer with one store."},
    {NULL, NULL, 0, NULL}};

static PyMethodDef sender_methods[] = {
    {"_bind", sender_bind, METH_VARARGS, NULL},
    {"send", send_one, METH_O,
     "send($self, event, /)\n--\n\n"
     "Hand one event over: into the ring when it fits, else into the overflow. Never waits for the shard.\n\n"
     "Raises SendError (with the event) when the receiver closed, exited or was killed; TypeError or ValueError for a\n"
     "bad event, of which nothing is queued; ClosedError on a closed or forked handle; OutOfMemory, a MemoryError, when\n"
     "the overflow cannot grow."},
    {"send_many", send_many, METH_O,
     "send_many($self, events, /)\n--\n\n"
     "Hand a sequence of events over with one publish and at most one wake-up.\n\n"
     "Raises as send; a bad event anywhere in it means that nothing of it is queued. SendError.unsent and\n"
     "OutOfMemory.unsent hold all events that were not taken, in order."},
    {"reserve_chunk", NAMED(kr_reserve_chunk), METH_FASTCALL | METH_KEYWORDS,
     "reserve_chunk($self, length)\n--\n\n"
     "Space for a SnapshotChunk of at most length bytes, written in place: recv_into(grant.view).\n\n"
     "A context manager; without grant.commit(n) nothing is sent. While a grant is open, what other threads send waits\n"
     "behind the ring. When the ring has no room the grant is ordinary memory, and commit copies it."},
    {NULL, NULL, 0, NULL}};

static PyMethodDef consumer_methods[] = {
    {"_bind", consumer_bind, METH_VARARGS, NULL},
    {"_place_of_out", place_of_out, METH_NOARGS, NULL},
    {"_take", kr_take_batch, METH_VARARGS, NULL},
    {"_cut_off_strays", kr_cut_off_strays, METH_VARARGS, NULL},
    {"drain", NAMED(kr_drain), METH_VARARGS | METH_KEYWORDS,
     "drain($self, max_records=1024, max_bytes=None)\n--\n\n"
     "Take up to max_records records of together at most max_bytes (but at least one). Never waits.\n\n"
     "The batch is a context manager; leaving it gives the space back. Raises BatchOpen while the previous batch is\n"
     "open, and CorruptRing when the ring holds what no producer writes."},
    {"read_many", NAMED(read_many), METH_FASTCALL | METH_KEYWORDS,
     "read_many($self, max_records=1024)\n--\n\n"
     "Up to max_records records as bytes of their own; an empty list when there are none. Never waits."},
    {"try_read", try_read, METH_NOARGS,
     "try_read($self, /)\n--\n\n"
     "The next record as bytes of its own; None when there is none now. Raises RecvError at the end."},
    {"read", NAMED(read_one), METH_FASTCALL | METH_KEYWORDS,
     "read($self, timeout=None)\n--\n\n"
     "Wait up to timeout seconds for the next record, as bytes of its own; None when the time is up.\n\n"
     "Raises RecvError when the producer is gone and everything that it published was read."},
    {NULL, NULL, 0, NULL}};

static PyMethodDef receiver_methods[] = {
    {"drain", NAMED(kr_drain), METH_VARARGS | METH_KEYWORDS,
     "drain($self, max_events=1024, max_bytes=None)\n--\n\n"
     "Take up to max_events events of together at most max_bytes (but at least one). Never waits.\n\n"
     "The batch is a context manager; leaving it gives the space back. An event larger than the ring is put together\n"
     "over as many drains as it takes and comes in a batch of its own. Raises BatchOpen while the previous batch is\n"
     "open, CorruptRing, ClosedError, and EventTruncated when the first part of an event larger than the ring went to a\n"
     "predecessor of this receiver: once, also if it was the predecessor that found out."},
    {"try_recv", try_recv, METH_NOARGS,
     "try_recv($self, /)\n--\n\n"
     "The next event, with memory of its own; None when there is none now. Raises RecvError at the end."},
    {"recv", NAMED(recv), METH_FASTCALL | METH_KEYWORDS,
     "recv($self, timeout=None)\n--\n\n"
     "Wait up to timeout seconds for the next event, with memory of its own; None when the time is up.\n\n"
     "Raises RecvError when the sender is gone and everything that it published was received."},
    {"recv_many", NAMED(recv_many), METH_FASTCALL | METH_KEYWORDS,
     "recv_many($self, max_events=1024)\n--\n\n"
     "Up to max_events events with memory of their own; an empty list when there are none now. Never waits.\n\n"
     "Their space is given back before they are returned: whoever dies with the list in hand has lost it, which a\n"
     "drained batch is not. Raises RecvError at the end."},
    {NULL, NULL, 0, NULL}};

static PyMemberDef producer_members[] = {{"_lender", T_OBJECT, offsetof(ProducerCalls, lender), 0, NULL}, {NULL, 0, 0, 0, NULL}};
static PyMemberDef consumer_members[] = {
    {"_careful", T_INT, offsetof(ConsumerCalls, careful), 0, NULL},
    {"_strays", T_INT, offsetof(ConsumerCalls, strays), 0, NULL},
    {"_area", T_OBJECT, offsetof(ConsumerCalls, area), 0, NULL},
    {"_snapshots_released", T_ULONGLONG, offsetof(ConsumerCalls, snapshots_released), 0, NULL},
    {"_lender", T_OBJECT, offsetof(ConsumerCalls, lender), 0, NULL},
    {"_columns", T_OBJECT, offsetof(ConsumerCalls, batch_columns), 0, NULL},
    {"_nothing", T_OBJECT, offsetof(ConsumerCalls, no_records), 0, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyGetSetDef consumer_getters[] = {{"_open_batch", kr_open_batch, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot producer_slots[] = {
    {Py_tp_methods, producer_methods}, {Py_tp_members, producer_members}, {Py_tp_dealloc, producer_dealloc}, {0, NULL}};
static PyType_Slot sender_slots[] = {
    {Py_tp_methods, sender_methods}, {Py_tp_members, producer_members}, {Py_tp_dealloc, producer_dealloc}, {0, NULL}};
static PyType_Slot consumer_slots[] = {
    {Py_tp_methods, consumer_methods}, {Py_tp_members, consumer_members}, {Py_tp_getset, consumer_getters}, {Py_tp_dealloc, consumer_dealloc}, {0, NULL}};
static PyType_Slot receiver_slots[] = {{Py_tp_methods, receiver_methods}, {Py_tp_dealloc, consumer_dealloc}, {0, NULL}};

#define CAN_BE_BASE (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE)
static PyType_Spec producer_spec = {"kevy_ring._calls.ProducerCalls", sizeof(ProducerCalls), 0, CAN_BE_BASE, producer_slots};
static PyType_Spec sender_spec = {"kevy_ring._calls.SenderCalls", sizeof(ProducerCalls), 0, CAN_BE_BASE, sender_slots};
static PyType_Spec consumer_spec = {"kevy_ring._calls.ConsumerCalls", sizeof(ConsumerCalls), 0, CAN_BE_BASE, consumer_slots};
static PyType_Spec receiver_spec = {"kevy_ring._calls.ReceiverCalls", sizeof(ConsumerCalls), 0, CAN_BE_BASE, receiver_slots};

/* The classes of the events that are made and taken apart here. */
static PyObject *know_events(PyObject *module, PyObject *arguments)
{
    PyObject *frame, *chunk;
    if (!PyArg_ParseTuple(arguments, "OO", &frame, &chunk))
        return NULL;
    Py_INCREF(frame);
    Py_INCREF(chunk);
    frame_type = frame;
    chunk_type = chunk;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {{"know_events", know_events, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "kevy_ring._calls", NULL, -1, functions, NULL, NULL, NULL, NULL};

/* `made`: where one more reference to the type goes, or NULL. 0, or -1 with an exception. */
int kr_add_type(PyObject *module, const char *name, PyType_Spec *spec, PyObject *base, PyObject **made)
{
    PyObject *bases = base ? PyTuple_Pack(1, base) : NULL;
    PyObject *type = base && !bases ? NULL : PyType_FromSpecWithBases(spec, bases);
    Py_XDECREF(bases);
    if (type && made) {
        Py_INCREF(type);
        *made = type;
    }
    return type ? PyModule_AddObject(module, name, type) : -1;
}

static int fill(PyObject *module)
{
    name_offset = PyUnicode_InternFromString("offset");
    name_argv = PyUnicode_InternFromString("argv");
    name_data = PyUnicode_InternFromString("data");
    if (!name_offset || !name_argv || !name_data)
        return -1;
    PyObject *consumer = NULL;
    int failed = kr_add_type(module, "ProducerCalls", &producer_spec, NULL, NULL) ||
                 kr_add_type(module, "SenderCalls", &sender_spec, NULL, NULL) ||
                 kr_add_type(module, "ConsumerCalls", &consumer_spec, NULL, &consumer) ||
                 kr_add_type(module, "ReceiverCalls", &receiver_spec, consumer, NULL) || kr_add_loans(module) ||
                 kr_add_batches(module, consumer);
    Py_XDECREF(consumer);
    return failed;
}

PyObject *kr_init_of_cffi(void);

/* All that the core keeps of the interpreter (types, names, cffi's own) is there once for the process. A second interpreter
 * would replace it under the hands of the first, so it is refused before anything is touched. */
static PyObject *create_core(PyObject *spec, PyModuleDef *nothing)
{
    int64_t number = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (!number)
        return kr_init_of_cffi();
    if (number > 0)
        PyErr_Format(PyExc_ImportError,
                     "kevy-ring works in the main interpreter of a process only, and this is interpreter %lld of process %d; "
                     "run this part in a process of its own (with mod_wsgi: WSGIApplicationGroup %%{GLOBAL})",
                     (long long)number, (int)getpid());
    return NULL;
}

#define MULTIPLE_INTERPRETERS 3                  /* the slot of Python 3.12; older ones refuse a module that has it */
#define ANY_INTERPRETER ((void *)(intptr_t)2)    /* ask create_core() everywhere: its words are the clearer ones */

/* In two phases, as the interpreter asks for those again in every other interpreter, and hands out a copy of a module that
 * is made in one. */
static PyModuleDef_Slot old_slots[] = {{Py_mod_create, (void *)create_core}, {0, NULL}};
static PyModuleDef_Slot core_slots[] = {
    {Py_mod_create, (void *)create_core}, {MULTIPLE_INTERPRETERS, ANY_INTERPRETER}, {0, NULL}};
static struct PyModuleDef core_definition = {PyModuleDef_HEAD_INIT, "_core", NULL, 0, NULL, core_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void)
{
    int major = 0, minor = 0;
    if (sscanf(Py_GetVersion(), "%d.%d", &major, &minor) == 2 && major == 3 && minor < 12)
        core_definition.m_slots = old_slots;
    return PyModuleDef_Init(&core_definition);
}

/* Makes the module kevy_ring._calls known, beside the one that cffi makes of this library. 0, or -1. */
int kr_make_calls(void)
{
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *module = PyModule_Create(&definition);
    int failed = !module || fill(module) || PyDict_SetItemString(PyImport_GetModuleDict(), "kevy_ring._calls", module);
    if (failed)
        PyErr_Print();
    Py_XDECREF(module);
    PyGILState_Release(state);
    return failed ? -1 : 0;
}
