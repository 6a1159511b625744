/* Batches of events: single events, the arguments of frames, and all frames as RESP. */
#include "inbox/decode.h"
#include "python/calls.h"

#define GROUP_EVENTS 64 /* argument views are made for this many events at once, which is cheaper than one by one */
#define FEW_EVENTS 4    /* in a batch of up to this many, each event is decoded alone */

/* ------------------------------------------------------------------------------------------ views of arguments */

void kr_forget_arguments(Batch *batch)
{
    batch->low = batch->high = 0;
    Py_CLEAR(batch->decoded);
}

static PyObject *wrong_event(Batch *batch, Py_ssize_t i, const char *field)
{
    uint64_t start = kr_columns_of(batch).starts[i];
    return kr_raise_corrupt((PyObject *)batch->consumer, batch->position + start - KR_RECORD_BYTES, field);
}

/* Stores views of the arguments of event `i` from `list[at]` on. 0, or -1: the end positions are wrong, or an exception is set. */
static int add_views(Batch *batch, const struct kr_columns *columns, Py_ssize_t i, PyObject *list, Py_ssize_t at)
{
    uint32_t argc = columns->argcs[i], length;
    struct kr_frame_reader frame;
    const char *records = kr_records_of(batch), *argument;
    if (!argc)
        return 0;
    if (!kr_frame_read(&frame, records + columns->starts[i], columns->lengths[i], argc))
        return -1;
    for (uint32_t a = 0; a < argc; a++) {
        if (!kr_frame_next(&frame, &argument, &length))
            return -1;
        Py_ssize_t first = argument - records;
        PyObject *view = PySequence_GetSlice(batch->root, first, first + (Py_ssize_t)length);
        if (!view || PyList_SetItem(list, at++, view) < 0)
            return -1;
    }
    return 0;
}

/* Makes the views of the arguments of event `i` and its group. 0, or -1 with an exception. */
static int decode(Batch *batch, Py_ssize_t i)
{
    if (!kr_root(batch))
        return -1;
    struct kr_columns columns = kr_columns_of(batch);
    int is_alone = batch->count <= FEW_EVENTS;
    Py_ssize_t low = is_alone ? i : i - i % GROUP_EVENTS, high = is_alone ? i + 1 : low + GROUP_EVENTS, total = 0;
    if (!batch->bounds && !(batch->bounds = PyMem_Malloc((GROUP_EVENTS + 1) * sizeof *batch->bounds))) {
        PyErr_NoMemory();
        return -1;
    }
    high = high < batch->count ? high : batch->count;
    kr_forget_arguments(batch);
    for (Py_ssize_t e = low; e < high; e++) {
        batch->bounds[e - low] = total;
        total += columns.argcs[e];
    }
    batch->bounds[high - low] = total;
    int collects = PyGC_Disable();
    PyObject *list = PyList_New(total);
    Py_ssize_t wrong = -1;
    for (Py_ssize_t e = low; list && e < high; e++)
        if (add_views(batch, &columns, e, list, batch->bounds[e - low]) < 0) {
            wrong = e;
            Py_CLEAR(list);
        }
    kr_resume_gc(collects);
    if (!list) {
        if (!PyErr_Occurred())
            wrong_event(batch, wrong, "end position of an argument");
        return -1;
    }
    batch->decoded = list;
    batch->low = low;
    batch->high = high;
    return 0;
}

static PyObject *argv_alone(PyObject *self, PyObject *number)
{
    Batch *batch = (Batch *)self;
    Py_ssize_t i = kr_index_of(batch, number, 0);
    if (i < 0 || ((i < batch->low || i >= batch->high) && decode(batch, i) < 0))
        return NULL;
    const Py_ssize_t *bounds = batch->bounds + (i - batch->low);
    return PyList_GetSlice(batch->decoded, bounds[0], bounds[1]);
}

/* ---------------------------------------------------------------------------------------------------- one event */

/* Whether the batch can be read. If not, raises ClosedError. */
static int is_readable(Batch *batch)
{
    if (!batch->consumer)
        PyErr_SetString(PyExc_ValueError, "a batch of no records");
    else if (!batch->held && !batch->frozen)
        kr_raise_closed((PyObject *)batch->consumer, "released");
    return batch->consumer && (batch->held || batch->frozen);
}

static PyObject *event_alone(PyObject *self, PyObject *number)
{
    Batch *batch = (Batch *)self;
    Py_ssize_t i = kr_index_of(batch, number, 1);
    if (i < 0 || !is_readable(batch))
        return NULL;
    struct kr_columns columns = kr_columns_of(batch);
    PyObject *event = kr_event_in(batch, &columns, i);
    return event || PyErr_Occurred() ? event : wrong_event(batch, i, "a record that is no event");
}

static PyObject *owned_alone(PyObject *self, PyObject *number)
{
    Batch *batch = (Batch *)self;
    Py_ssize_t i = kr_index_of(batch, number, 0);
    PyObject *root = i < 0 ? NULL : kr_root(batch);
    if (!root)
        return NULL;
    struct kr_columns columns = kr_columns_of(batch);
    int collects = PyGC_Disable();
    PyObject *event = kr_event(batch->state, kr_records_of(batch), &columns, (uint64_t)i);
    kr_resume_gc(collects);
    if (event || PyErr_Occurred())
        return event;
    return wrong_event(batch, i, columns.argcs[i] ? "end position of an argument" : "a record that is no event");
}

static PyObject *payload_alone(PyObject *self, PyObject *number)
{
    Py_ssize_t i = kr_index_of((Batch *)self, number, 0);
    return i < 0 ? NULL : kr_payload((Batch *)self, i);
}

/* --------------------------------------------------------------------------------------------------- all events */

static PyObject *resp_alone(PyObject *self, PyObject *nothing)
{
    Batch *batch = (Batch *)self;
    if (!batch->count)
        return PyList_New(0);
    if (!kr_root(batch))
        return NULL;
    Columns *columns = batch->columns;
    const char *records = kr_records_of(batch);
    int64_t size = kr_batch_resp(records, columns->memory, columns->room, (uint64_t)batch->count, NULL, 0), done = size;
    if (!size)
        return PyList_New(0);
    PyObject *list = NULL, *wire = size < 0 ? NULL : PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (wire)
        done = kr_batch_resp(records, columns->memory, columns->room, (uint64_t)batch->count, PyByteArray_AsString(wire), (uint64_t)size);
    if (done < 0 || done != size) /* in the second pass the end positions may be others: another process wrote them */
        wrong_event(batch, done < 0 ? (Py_ssize_t)(-1 - done) : 0, "end position of an argument");
    else if (wire)
        list = Py_BuildValue("[N]", PyMemoryView_FromObject(wire));
    Py_XDECREF(wire);
    return list;
}

static PyObject *ended_before_alone(PyObject *self, PyObject *number)
{
    Batch *batch = (Batch *)self;
    Py_ssize_t last = PyNumber_AsSsize_t(number, NULL);
    if (last == -1 && PyErr_Occurred())
        return NULL;
    last = last < batch->count ? last : batch->count;
    return PyLong_FromUnsignedLongLong(batch->held ? kr_snapshots_ended(batch, batch->released, last) : 0);
}

/* ------------------------------------------------------------------------------------- an event larger than the ring */

/* (kind, offset, payload) of the only record, which is a fragment of an event. */
static PyObject *part_alone(PyObject *self, PyObject *nothing)
{
    Batch *batch = (Batch *)self;
    PyObject *payload = is_readable(batch) ? kr_payload(batch, 0) : NULL;
    if (!payload)
        return NULL;
    struct kr_columns columns = kr_columns_of(batch);
    return Py_BuildValue("(BKN)", columns.kinds[0], (unsigned long long)columns.offsets[0], payload);
}

/* Replaces the fragment in this batch by the whole event: its assembled record, with header and padding. */
static PyObject *become_alone(PyObject *self, PyObject *arguments)
{
    Batch *batch = (Batch *)self;
    PyObject *record;
    unsigned int length, argc;
    if (!PyArg_ParseTuple(arguments, "SII", &record, &length, &argc) || !is_readable(batch))
        return NULL;
    struct kr_columns part = kr_columns_of(batch);
    Columns *columns = kr_columns_new(batch->state, 1, 0);
    if (!columns)
        return NULL;
    struct kr_columns whole = kr_split_columns(columns->memory, 1);
    *whole.offsets = *part.offsets;
    *whole.kinds = *part.kinds;
    *whole.starts = KR_RECORD_BYTES;
    *whole.lengths = length;
    *whole.argcs = argc;
    kr_forget_arguments(batch);
    Py_CLEAR(batch->root);
    Py_DECREF(batch->columns);
    batch->columns = columns;
    batch->whole = Py_NewRef(record);
    Py_RETURN_NONE;
}

ALONE(argv)
ALONE(event)
ALONE(owned)
ALONE(payload)
ALONE(resp)
ALONE(ended_before)
ALONE(part)
ALONE(become)

static PyMethodDef event_methods[] = {
    {"_at", event, METH_O, NULL},
    {"argv", argv, METH_O,
     "argv($self, i, /)\n--\n\n"
     "The arguments of frame i as read-only memoryviews; an empty list for other events.\n\n"
     "Raises CorruptRing if the end positions in the ring are wrong, IndexError, and ClosedError after the release."},
    {"owned", owned, METH_O, "owned($self, i, /)\n--\n\nEvent i, copied out of the batch: it may be kept. Raises as argv."},
    {"payload", payload, METH_O,
     "payload($self, i, /)\n--\n\n"
     "The payload of event i as a read-only memoryview.\n\n"
     "Of a chunk these are its bytes, of a frame its end positions and arguments. Raises IndexError, and ClosedError after the release."},
    {"resp", resp, METH_NOARGS,
     "resp($self, /)\n--\n\n"
     "All frames as RESP commands, in a list of one memoryview that may be kept, ready for socket.sendmsg.\n\n"
     "Other events are left out; without a frame the list is empty. One call of the core makes no Python object for\n"
     "each frame. Raises as argv."},
    {"_ended_before", ended_before, METH_O, NULL},
    {"_part", part, METH_NOARGS, NULL},
    {"_become", become, METH_VARARGS, NULL},
    {"_pass", kr_batch_pass, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL}};
static PyType_Slot event_slots[] = {{Py_tp_methods, event_methods}, {Py_mp_subscript, event}, {0, NULL}};
static PyType_Spec event_spec = {"kevy_ring._calls.EventBatchCalls", sizeof(Batch), 0, CAN_BE_BASE, event_slots};

int kr_add_event_batches(PyObject *module, kr_state *state) { return kr_add_type(module, &event_spec, state->batch, &state->event_batch); }
