/* Makes event objects: events that own their bytes, and events that refer to a batch. */
#include "inbox/decode.h"
#include "python/calls.h"

/* The arguments as bytes. NULL without an exception: the end positions decrease, or one is beyond the payload. */
static PyObject *argv_of(const char *payload, uint32_t length, uint32_t argc)
{
    struct kr_frame_reader frame;
    if (!kr_frame_read(&frame, payload, length, argc))
        return NULL;
    PyObject *argv = PyList_New((Py_ssize_t)argc);
    for (uint32_t i = 0; argv && i < argc; i++) {
        const char *bytes;
        PyObject *argument = kr_frame_next(&frame, &bytes, &length) ? PyBytes_FromStringAndSize(bytes, (Py_ssize_t)length) : NULL;
        if (!argument || PyList_SetItem(argv, (Py_ssize_t)i, argument) < 0)
            Py_CLEAR(argv);
    }
    return argv;
}

/* Sets an attribute and drops the value. */
static int set(PyObject *object, PyObject *name, PyObject *value)
{
    int failed = !object || !value || PyObject_SetAttr(object, name, value) < 0;
    Py_XDECREF(value);
    return failed;
}

/* An object of an event class, with one attribute set. The class has slots, so __init__ need not run. */
static PyObject *new_event(kr_state *state, PyObject *type, PyObject *name, PyObject *value)
{
    PyObject *event = value ? PyType_GenericAlloc((PyTypeObject *)type, 0) : NULL;
    if (set(event, name, value))
        Py_CLEAR(event);
    return event;
}

/* Event `i` of a batch that begins at `records`, as an object that owns its bytes. NULL without an exception: its end positions are
 * wrong, or its kind is not an event. */
PyObject *kr_event(kr_state *state, const char *records, const struct kr_columns *columns, uint64_t i)
{
    const char *payload = records + columns->starts[i];
    uint32_t length = columns->lengths[i];
    PyObject *event;
    switch (columns->kinds[i]) {
    case KR_KIND_SNAPSHOT_CHUNK:
        return new_event(state, state->chunk, state->data, PyBytes_FromStringAndSize(payload, (Py_ssize_t)length));
    case KR_KIND_SNAPSHOT_END:
        return new_event(state, state->snapshot_end, state->ack_offset, PyLong_FromUnsignedLongLong(columns->offsets[i]));
    case KR_KIND_SNAPSHOT_BEGIN:
        return PyObject_CallNoArgs(state->snapshot_begin);
    case KR_KIND_FRAME:
        event = new_event(state, state->frame, state->argv, argv_of(payload, length, columns->argcs[i]));
        if (event && set(event, state->offset, PyLong_FromUnsignedLongLong(columns->offsets[i])))
            Py_CLEAR(event);
        return event;
    default:
        return NULL;
    }
}

/* Event `i` of a held batch, as an object that reads its bytes from the batch when they are used. NULL as kr_event(). */
PyObject *kr_event_in(Batch *batch, const struct kr_columns *columns, Py_ssize_t i)
{
    kr_state *state = batch->state;
    uint8_t kind = columns->kinds[i];
    if (kind != KR_KIND_FRAME && kind != KR_KIND_SNAPSHOT_CHUNK)
        return kr_event(state, NULL, columns, (uint64_t)i);
    PyObject *event = new_event(state, kind == KR_KIND_FRAME ? state->batch_frame : state->batch_chunk, state->of_batch, Py_NewRef((PyObject *)batch));
    if (event && (set(event, state->of_index, PyLong_FromSsize_t(i)) ||
                  (kind == KR_KIND_FRAME && set(event, state->offset, PyLong_FromUnsignedLongLong(columns->offsets[i])))))
        Py_CLEAR(event);
    return event;
}
