/* The bytes of Python objects, in place, for one call of the core.
 *
 * The first pass accepts only bytes objects, and counts no references: it runs no Python code, so the caller's objects stay alive.
 * There is a second pass if an object is of another bytes-like type, or if there are so many bytes that the copy runs without the
 * interpreter's lock. The second pass holds each object with a Py_buffer until kr_pieces_end(). */
#include <string.h>

#include "python/calls.h"

/* Begins the second pass. */
void kr_pieces_hold(struct kr_pieces *pieces)
{
    pieces->count = pieces->total = 0;
    pieces->is_held = 1;
    pieces->buffers = NULL;
    pieces->held = pieces->held_room = 0;
}

/* 0, or -1 with an exception. */
static int grow(struct kr_pieces *pieces)
{
    uint64_t room = 4 * pieces->room;
    kr_piece *more = pieces->pieces == pieces->few ? NULL : pieces->pieces;
    more = PyMem_Realloc(more, room * sizeof *more);
    if (!more) {
        PyErr_NoMemory();
        return -1;
    }
    if (pieces->pieces == pieces->few)
        memcpy(more, pieces->few, sizeof pieces->few);
    pieces->pieces = more;
    pieces->room = room;
    return 0;
}

/* Replaces the error that is set by a TypeError in words if the bytes of `object` are not contiguous. */
static void refuse_strides(PyObject *object)
{
    PyObject *kind, *value, *trace;
    Py_buffer view;
    PyErr_Fetch(&kind, &value, &trace);
    if (!PyObject_CheckBuffer(object) || PyObject_GetBuffer(object, &view, PyBUF_FULL_RO) < 0) {
        PyErr_Restore(kind, value, trace);
        return;
    }
    PyObject *strides = PyTuple_New(view.ndim), *name = PyType_GetName(Py_TYPE(object));
    for (int i = 0; strides && view.strides && i < view.ndim; i++)
        if (PyTuple_SetItem(strides, i, PyLong_FromSsize_t(view.strides[i])) < 0)
            Py_CLEAR(strides);
    if (strides && name && !PyBuffer_IsContiguous(&view, 'C')) {
        PyErr_Format(PyExc_TypeError,
                     "a bytes-like object has to be contiguous, and in this %U the elements lie %R bytes apart: copy it, "
                     "for example with bytes()",
                     name, strides);
        Py_CLEAR(kind);
        Py_CLEAR(value);
        Py_CLEAR(trace);
    } else {
        PyErr_Restore(kind, value, trace);
    }
    Py_XDECREF(strides);
    Py_XDECREF(name);
    PyBuffer_Release(&view);
}

static int hold(struct kr_pieces *pieces, PyObject *object, kr_piece *piece)
{
    if (pieces->held == pieces->held_room) {
        uint64_t room = pieces->held_room ? 4 * pieces->held_room : ON_STACK / 8;
        Py_buffer *more = PyMem_Realloc(pieces->buffers, room * sizeof *more);
        if (!more) {
            PyErr_NoMemory();
            return -1;
        }
        pieces->buffers = more;
        pieces->held_room = room;
    }
    Py_buffer *view = pieces->buffers + pieces->held;
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) < 0) {
        refuse_strides(object);
        return -1;
    }
    pieces->held++;
    piece->bytes = view->buf;
    piece->length = (uint64_t)view->len;
    return 0;
}

/* Accepts a bytes object in the first pass. */
static inline int take_bytes(PyObject *object, kr_piece *piece)
{
    char *bytes;
    Py_ssize_t length;
    if (!PyBytes_CheckExact(object) || PyBytes_AsStringAndSize(object, &bytes, &length) < 0)
        return PIECES_AGAIN;
    piece->bytes = bytes;
    piece->length = (uint64_t)length;
    return 0;
}

/* Adds one object. 0: added. PIECES_AGAIN: this needs the second pass. -1 with an exception: not bytes-like, or out of memory. */
int kr_pieces_add(struct kr_pieces *pieces, PyObject *object)
{
    if (pieces->count == pieces->room && grow(pieces) < 0)
        return -1;
    kr_piece *piece = pieces->pieces + pieces->count;
    int answer = pieces->is_held ? hold(pieces, object, piece) : take_bytes(object, piece);
    if (answer)
        return answer;
    pieces->count++;
    pieces->total += piece->length;
    return pieces->total >= LARGE_BYTES && !pieces->is_held ? PIECES_AGAIN : 0;
}

/* Adds the objects of any sequence in the second pass. It asks for the size each time, because a list may change meanwhile. */
static int add_all_held(struct kr_pieces *pieces, PyObject *sequence)
{
    int answer = 0;
    for (Py_ssize_t i = 0; !answer; i++) {
        Py_ssize_t size = PySequence_Size(sequence);
        if (size < 0)
            return -1;
        if (i >= size)
            break;
        PyObject *object = PySequence_GetItem(sequence, i);
        answer = object ? kr_pieces_add(pieces, object) : -1;
        Py_XDECREF(object);
    }
    return answer;
}

/* Adds all objects of a sequence, as kr_pieces_add(). The first pass accepts only a list or a tuple. */
int kr_pieces_add_all(struct kr_pieces *pieces, PyObject *sequence)
{
    int listed = PyList_CheckExact(sequence);
    if (pieces->is_held)
        return add_all_held(pieces, sequence);
    if (!listed && !PyTuple_CheckExact(sequence))
        return PIECES_AGAIN;
    uint64_t count = (uint64_t)(listed ? PyList_Size(sequence) : PyTuple_Size(sequence)), total = pieces->total;
    while (pieces->room - pieces->count < count)
        if (grow(pieces) < 0)
            return -1;
    kr_piece *to = pieces->pieces + pieces->count;
    for (uint64_t i = 0; i < count; i++) {
        PyObject *object = listed ? PyList_GetItem(sequence, (Py_ssize_t)i) : PyTuple_GetItem(sequence, (Py_ssize_t)i);
        if (take_bytes(object, to + i))
            return PIECES_AGAIN;
        total += to[i].length;
    }
    pieces->count += count;
    pieces->total = total;
    return total >= LARGE_BYTES ? PIECES_AGAIN : 0;
}

void kr_pieces_free(struct kr_pieces *pieces)
{
    for (uint64_t i = 0; i < pieces->held; i++)
        PyBuffer_Release(pieces->buffers + i);
    if (pieces->is_held)
        PyMem_Free(pieces->buffers);
    if (pieces->pieces != pieces->few)
        PyMem_Free(pieces->pieces);
}
