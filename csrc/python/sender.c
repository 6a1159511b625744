/* The sender of an inbox: sends events of the four classes, with arguments of any bytes-like type. Two passes, see pieces.c: the
 * first takes only bytes objects and runs no Python code. PIECES_AGAIN asks for the second, which holds a buffer of each object. */
#include <string.h>

#include "python/calls.h"

/* ------------------------------------------------------------------------------- events, taken apart in place */

struct events {
    uint64_t few_offsets[ON_STACK], *offsets;
    uint32_t few_argcs[ON_STACK], *argcs;
    uint8_t few_kinds[ON_STACK], *kinds;
    uint64_t count;
    int has_others; /* there are other events than frames */
    struct kr_pieces pieces;
};

static void events_begin(struct events *events)
{
    events->offsets = events->few_offsets;
    events->argcs = events->few_argcs;
    events->kinds = events->few_kinds;
    events->count = 0;
    events->has_others = 0;
    kr_pieces_begin(&events->pieces);
}

static void events_end(struct events *events)
{
    kr_pieces_end(&events->pieces);
    if (events->offsets != events->few_offsets)
        PyMem_Free(events->offsets);
}

/* Room for `count` events, in one block. 0, or -1 with an exception. */
static int events_room(struct events *events, uint64_t count)
{
    if (count <= ON_STACK)
        return 0;
    char *block = PyMem_Malloc(count * (sizeof *events->offsets + sizeof *events->argcs + sizeof *events->kinds));
    if (!block) {
        PyErr_NoMemory();
        return -1;
    }
    events->offsets = (uint64_t *)(void *)block;
    events->argcs = (uint32_t *)(void *)(events->offsets + count);
    events->kinds = (uint8_t *)(events->argcs + count);
    return 0;
}

/* Reads an offset of the stream. Raises TypeError for a non-integer, and ValueError outside 0 .. 2**64 - 1. */
static int take_offset(PyObject *number, uint64_t *offset)
{
    if (!PyIndex_Check(number)) {
        PyObject *name = PyType_GetName(Py_TYPE(number));
        if (name)
            PyErr_Format(PyExc_TypeError, "an offset is an integer, not %U", name);
        Py_XDECREF(name);
        return -1;
    }
    PyObject *index = PyNumber_Index(number);
    *offset = index ? PyLong_AsUnsignedLongLong(index) : UINT64_MAX;
    Py_XDECREF(index);
    if (*offset != UINT64_MAX || !PyErr_Occurred())
        return 0;
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "an offset is at least 0 and below 2**64: %S", number);
    }
    return -1;
}

/* Takes a frame in the first pass. Its class is exactly Frame, whose attributes are slots, so reading them runs no Python code.
 * The frame keeps its offset and its arguments alive. Everything unusual or wrong is left to the second pass. */
static int take_plain_frame(struct events *events, kr_state *state, PyObject *frame)
{
    PyObject *number = state->get_slot(state->frame_offset, frame, state->frame);
    PyObject *argv = number ? state->get_slot(state->frame_argv, frame, state->frame) : NULL;
    uint64_t before = events->pieces.count, offset = UINT64_MAX;
    if (argv && PyLong_CheckExact(number))
        offset = PyLong_AsUnsignedLongLong(number);
    int taken = offset != UINT64_MAX && !kr_pieces_add_all(&events->pieces, argv) && events->pieces.count != before;
    Py_XDECREF(number);
    Py_XDECREF(argv);
    if (!taken) {
        PyErr_Clear();
        return PIECES_AGAIN;
    }
    events->offsets[events->count] = offset;
    events->argcs[events->count] = (uint32_t)(events->pieces.count - before);
    events->kinds[events->count] = KR_KIND_FRAME;
    return 0;
}

static int take_parts(struct events *events, PyObject *number, PyObject *argv)
{
    uint64_t before = events->pieces.count, bytes = events->pieces.total;
    if (take_offset(number, events->offsets + events->count) < 0 ||
        kr_check_sequence(argv, "argv is a list, or another sequence, of bytes-like arguments, not a %U") < 0)
        return -1;
    int answer = kr_pieces_add_all(&events->pieces, argv);
    uint64_t argc = events->pieces.count - before;
    bytes = 4 + 4 * argc + events->pieces.total - bytes;
    events->argcs[events->count] = (uint32_t)argc;
    if (answer || (argc && bytes <= KR_LENGTH_MAX))
        return answer;
    PyErr_SetString(PyExc_ValueError, argc ? "an event is at most 4 GiB" : "a frame has at least one argument");
    return -1;
}

/* Takes a frame, perhaps of a derived class, in the second pass. */
static int take_frame(struct events *events, kr_state *state, PyObject *frame)
{
    PyObject *number = PyObject_GetAttr(frame, state->offset), *argv = number ? PyObject_GetAttr(frame, state->argv) : NULL;
    int answer = argv ? take_parts(events, number, argv) : -1;
    events->kinds[events->count] = KR_KIND_FRAME;
    Py_XDECREF(number);
    Py_XDECREF(argv);
    return answer;
}

static int take_other(struct events *events, kr_state *state, PyObject *event)
{
    uint64_t i = events->count;
    events->has_others = 1;
    int is_chunk, is_end, answer = 0;
    events->offsets[i] = events->argcs[i] = 0;
    if ((is_chunk = PyObject_IsInstance(event, state->chunk)) < 0 || (is_end = PyObject_IsInstance(event, state->snapshot_end)) < 0)
        return -1;
    if (is_chunk || is_end) {
        PyObject *value = PyObject_GetAttr(event, is_chunk ? state->data : state->ack_offset);
        if (!value)
            return -1;
        uint64_t before = events->pieces.total;
        answer = is_chunk ? kr_pieces_add(&events->pieces, value) : take_offset(value, events->offsets + i);
        Py_DECREF(value);
        if (events->pieces.total - before > KR_LENGTH_MAX) {
            PyErr_SetString(PyExc_ValueError, "an event is at most 4 GiB");
            return -1;
        }
        events->argcs[i] = (uint32_t)is_chunk;
        events->kinds[i] = is_chunk ? KR_KIND_SNAPSHOT_CHUNK : KR_KIND_SNAPSHOT_END;
        return answer;
    }
    events->kinds[i] = KR_KIND_SNAPSHOT_BEGIN;
    answer = PyObject_IsInstance(event, state->snapshot_begin);
    if (answer > 0)
        return 0;
    PyObject *name = answer ? NULL : PyType_GetName(Py_TYPE(event));
    if (name)
        PyErr_Format(PyExc_TypeError, "not an event of a replication stream: %U", name);
    Py_XDECREF(name);
    return -1;
}

/* Takes one event. Returns as kr_pieces_add(). */
static int take_event(struct events *events, kr_state *state, PyObject *event)
{
    int answer;
    if (!events->pieces.is_held)
        answer = (PyObject *)Py_TYPE(event) == state->frame ? take_plain_frame(events, state, event) : PIECES_AGAIN;
    else if ((answer = PyObject_IsInstance(event, state->frame)) >= 0)
        answer = answer ? take_frame(events, state, event) : take_other(events, state, event);
    events->count += !answer;
    return answer;
}

/* Takes the first `count` events of a list or a tuple. Raises IndexError if Python code made the list shorter meanwhile. */
static int take_events(struct events *events, kr_state *state, PyObject *list, Py_ssize_t count)
{
    int answer = 0;
    events->count = 0;
    for (Py_ssize_t i = 0; !answer && i < count; i++) {
        PyObject *event = PySequence_GetItem(list, i);
        if (!event)
            return -1;
        answer = take_event(events, state, event);
        Py_DECREF(event);
    }
    return answer;
}

/* ------------------------------------------------------------------------------------------------------- sends */

/* Raises the exception that the sender makes for a result of the core. It carries the events that were not taken. */
static PyObject *refused(PyObject *self, int code, PyObject *events, int is_list, uint64_t accepted)
{
    return kr_raise_object(PyObject_CallMethod(self, "_unsent", "iOiK", code, events, is_list, (unsigned long long)accepted));
}

/* Gives the events to the core. `given`: the event, or the list of events, of the caller. */
static PyObject *hand_over(PyObject *self, struct events *events, PyObject *given, int is_list)
{
    Writer *writer = (Writer *)self;
    uint64_t accepted = 0;
    if (kr_writer_ready(writer) < 0) /* again: Python code may have run and closed it */
        return NULL;
    kr_sender *sender = writer->sender;
    const uint8_t *kinds = events->has_others ? events->kinds : NULL;
    PyObject *handle = writer->handle;
    int code;
    if (events->pieces.total < LARGE_BYTES) {
        code = kr_send_pieces(sender, events->count, kinds, events->offsets, events->argcs, events->pieces.pieces, &accepted);
    } else {
        Py_INCREF(handle); /* keeps the sender */
        Py_BEGIN_ALLOW_THREADS
        code = kr_send_pieces(sender, events->count, kinds, events->offsets, events->argcs, events->pieces.pieces, &accepted);
        Py_END_ALLOW_THREADS
        Py_DECREF(handle);
    }
    if (code >= 0 && (code & KR_SEND_NO_THREAD) && kr_done(PyObject_CallMethod(self, "_tell_no_thread", NULL)) < 0)
        return NULL;
    if (code < 0 || accepted < events->count)
        return refused(self, code, given, is_list, accepted);
    Py_RETURN_NONE;
}

static PyObject *send_alone(PyObject *self, PyObject *event)
{
    kr_state *state = ((Writer *)self)->state;
    struct events events;
    if (kr_writer_ready((Writer *)self) < 0)
        return NULL;
    events_begin(&events);
    int answer = take_event(&events, state, event);
    if (answer == PIECES_AGAIN) {
        kr_pieces_hold(&events.pieces);
        answer = take_event(&events, state, event);
    }
    PyObject *sent = answer ? NULL : hand_over(self, &events, event, 0);
    events_end(&events);
    return sent;
}

static PyObject *send_list(PyObject *self, PyObject *list)
{
    kr_state *state = ((Writer *)self)->state;
    Py_ssize_t count = PyList_CheckExact(list) ? PyList_Size(list) : PyTuple_Size(list);
    struct events events;
    if (kr_writer_ready((Writer *)self) < 0)
        return NULL;
    if (!count)
        Py_RETURN_NONE;
    events_begin(&events);
    int answer = events_room(&events, (uint64_t)count);
    if (!answer && (answer = take_events(&events, state, list, count)) == PIECES_AGAIN) {
        kr_pieces_hold(&events.pieces);
        answer = take_events(&events, state, list, count);
    }
    PyObject *sent = answer ? NULL : hand_over(self, &events, list, 1);
    events_end(&events);
    if (!sent && PyErr_ExceptionMatches(PyExc_MemoryError) && answer) { /* of the interpreter: the core was not called */
        PyErr_Clear();
        return refused(self, KR_E_NOMEM, list, 1, 0);
    }
    return sent;
}

static PyObject *send_many_alone(PyObject *self, PyObject *events)
{
    if (PyList_CheckExact(events) || PyTuple_CheckExact(events))
        return send_list(self, events);
    PyObject *list = PySequence_List(events), *sent = list ? send_list(self, list) : NULL;
    Py_XDECREF(list);
    return sent;
}

/* The grant is ordinary memory if the ring has no room now, is smaller than the chunk, or another chunk is open. */
static PyObject *reserve_chunk_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Writer *writer = (Writer *)self;
    PyObject *number = NULL;
    uint64_t length;
    if (kr_only_argument(arguments, count, names, "length", &number) < 0 || kr_clamped_length_of(number, &length) < 0)
        return NULL;
    if (!length || length > KR_CHUNK_MAX)
        return PyErr_Format(PyExc_ValueError, "a chunk has 1 to %d bytes, not %S", KR_CHUNK_MAX, number);
    if (kr_writer_ready(writer) < 0)
        return NULL;
    int64_t index = kr_chunk_reserve(writer->sender, length);
    if (index >= 0 || index == KR_RESERVE_FULL || index == KR_E_TOO_LARGE || index == KR_E_BUSY)
        return kr_grant_new(writer, writer->state->chunk_grant, index, length);
    return kr_fault(self, index);
}

ALONE(send)
ALONE(send_many)
ALONE_FAST(reserve_chunk)

static PyMethodDef sender_methods[] = {
    {"_bind", kr_writer_bind, METH_VARARGS, NULL},
    {"send", send, METH_O,
     "send($self, event, /)\n--\n\n"
     "Send one event: into the ring if it fits, else into the overflow. Never waits for the shard.\n\n"
     "Raises SendError (with the event) when the receiver closed, exited or was killed; TypeError or ValueError for a\n"
     "bad event, of which nothing is sent; ClosedError on a closed or forked handle; OutOfMemory, a MemoryError, if the\n"
     "overflow cannot grow."},
    {"send_many", send_many, METH_O,
     "send_many($self, events, /)\n--\n\n"
     "Send a sequence of events in order, with one publish and at most one wake-up of the shard.\n\n"
     "Raises as send. If any event is bad, none is sent. SendError.unsent and OutOfMemory.unsent hold the events that\n"
     "were not taken, in order."},
    {"reserve_chunk", FAST(reserve_chunk),
     "reserve_chunk($self, length)\n--\n\n"
     "Reserve space for a SnapshotChunk of at most length bytes, to write it in place.\n\n"
     "    with sender.reserve_chunk(65536) as grant:\n        grant.commit(sock.recv_into(grant.view))\n\n"
     "Without a commit nothing is sent. While a grant is open, events of other threads wait in the overflow. If the\n"
     "ring has no room, the grant is ordinary memory and commit copies it. Raises ValueError for a length outside 1 ..\n"
     "2**30, SendError when the receiver is gone, and ClosedError."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot sender_slots[] = {
    {Py_tp_new, kr_new}, {Py_tp_methods, sender_methods}, {Py_tp_dealloc, kr_writer_dealloc}, {0, NULL}};
static PyType_Spec sender_spec = {"kevy_ring._calls.SenderCalls", sizeof(Writer), 0, CAN_BE_BASE, sender_slots};

int kr_add_sender(PyObject *module, kr_state *state) { return kr_add_type(module, &sender_spec, NULL, &state->sender); }
