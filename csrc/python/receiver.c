/* The receiver of an inbox: calls that return events as objects that own their bytes. */
#include "python/calls.h"

/* One event of a drain. NULL as kr_event(). */
static PyObject *event_at(Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t i)
{
    int collects = PyGC_Disable();
    PyObject *event = kr_event(consumer->state, consumer->consumer->data + batch->index, columns, i);
    kr_resume_gc(collects);
    return event;
}

/* Ends a drain whose event `i` could not be made; it will be drained again. Raises CorruptRing unless an exception is set. */
static PyObject *cannot_be(Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t i)
{
    kr_consumer_release(consumer->consumer, batch->position, 0, 1);
    if (PyErr_Occurred())
        return NULL;
    int is_frame = columns->kinds[i] == KR_KIND_FRAME;
    return kr_raise_corrupt((PyObject *)consumer, batch->position + columns->starts[i] - KR_RECORD_BYTES,
                            is_frame ? "end position of an argument" : "a record that is no event");
}

/* ------------------------------------------------------------------------------------------------------ events */

/* The next event, through a batch of one: it may be in fragments, or a loss may have to be raised. NULL without an exception:
 * there is none. */
static PyObject *take_by_batch(Consumer *consumer)
{
    Batch *batch = (Batch *)PyObject_CallMethod((PyObject *)consumer, "drain", "i", 1);
    if (!batch || !batch->count) {
        Py_XDECREF((PyObject *)batch);
        return NULL;
    }
    PyObject *event = PyObject_CallMethod((PyObject *)batch, "owned", "i", 0);
    if (!event || kr_release_first(batch, 1) < 0) {
        Py_CLEAR(event);
        kr_abandon(batch);
    }
    Py_DECREF(batch);
    return event;
}

static PyObject *take_event(Consumer *consumer)
{
    kr_batch batch;
    if (kr_consumer_ready(consumer) < 0)
        return NULL;
    if (consumer->careful)
        return take_by_batch(consumer);
    int64_t count = kr_drain_apart(consumer, 1, consumer->block, &batch);
    if (count <= 0)
        return NULL;
    if (batch.fragment) {
        kr_consumer_release(consumer->consumer, batch.position, 0, 1);
        return take_by_batch(consumer);
    }
    struct kr_columns columns = kr_split_columns(consumer->block, 1);
    PyObject *event = event_at(consumer, &batch, &columns, 0);
    if (!event)
        return cannot_be(consumer, &batch, &columns, 0);
    consumer->snapshots_released += columns.kinds[0] == KR_KIND_SNAPSHOT_END;
    event = kr_given(consumer, &batch, &columns, 1, event);
    if (!event)
        consumer->snapshots_released -= columns.kinds[0] == KR_KIND_SNAPSHOT_END;
    return event;
}

static PyObject *try_recv_alone(PyObject *self, PyObject *nothing) { return kr_take_now((Consumer *)self, take_event); }

static PyObject *recv_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    return kr_take_within((Consumer *)self, take_event, arguments, count, names);
}

/* How many frames and chunks come before the first other event. Another event is returned alone. */
static uint64_t plain_events(const struct kr_columns *columns, uint64_t count)
{
    uint64_t plain = 0;
    while (plain < count && (columns->kinds[plain] == KR_KIND_FRAME || columns->kinds[plain] == KR_KIND_SNAPSHOT_CHUNK))
        plain++;
    return plain;
}

static PyObject *events_list(Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t count)
{
    int collects = PyGC_Disable();
    const char *records = consumer->consumer->data + batch->index;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint64_t i = 0; list && i < count; i++) {
        PyObject *event = kr_event(consumer->state, records, columns, i);
        if (!event || PyList_SetItem(list, (Py_ssize_t)i, event) < 0)
            Py_CLEAR(list);
    }
    kr_resume_gc(collects);
    return list;
}

/* A list of the next event, or an empty list. */
static PyObject *recv_one(Consumer *consumer)
{
    PyObject *event = kr_take_now(consumer, take_event), *list = event ? PyList_New(event != Py_None) : NULL;
    if (list && event != Py_None && PyList_SetItem(list, 0, Py_NewRef(event)) < 0)
        Py_CLEAR(list);
    Py_XDECREF(event);
    return list;
}

static PyObject *recv_many_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t given_count, PyObject *names)
{
    Consumer *consumer = (Consumer *)self;
    kr_batch batch;
    uint64_t most;
    if (kr_how_many(arguments, given_count, names, "max_events", &most) < 0 || kr_consumer_ready(consumer) < 0)
        return NULL;
    if (consumer->careful)
        return recv_one(consumer);
    most = most < KEPT_RECORDS ? most : KEPT_RECORDS;
    int64_t count = kr_drain_apart(consumer, most, consumer->block, &batch);
    if (count < 0 || (count == 0 && kr_is_at_end(consumer) < 0))
        return NULL;
    if (count == 0)
        return PyList_New(0);
    struct kr_columns columns = kr_split_columns(consumer->block, most);
    uint64_t plain = batch.fragment ? 0 : plain_events(&columns, (uint64_t)count);
    PyObject *list = plain ? events_list(consumer, &batch, &columns, plain) : NULL;
    if (list || PyErr_Occurred())
        return kr_given(consumer, &batch, &columns, plain, list);
    kr_consumer_release(consumer->consumer, batch.position, 0, 1);
    return recv_one(consumer);
}

static PyObject *drain_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    return kr_drain_method(self, arguments, count, names, "max_events");
}

ALONE_FAST(drain)
ALONE(try_recv)
ALONE_FAST(recv)
ALONE_FAST(recv_many)

static PyMethodDef receiver_methods[] = {
    {"drain", FAST(drain),
     "drain($self, max_events=1024, max_bytes=None)\n--\n\n"
     "Take the waiting events as a batch: at most max_events, of together at most max_bytes. Never waits.\n\n"
     "One event is taken even if it is larger than max_bytes. If nothing waits, the batch is empty. The batch is a\n"
     "context manager; leaving it gives the space back to the sender:\n\n"
     "    with receiver.drain() as batch:\n        for event in batch: ...\n\n"
     "An event larger than the ring arrives in fragments. Drains collect them, and then return it in a batch of one.\n\n"
     "Raises BatchOpen while the previous batch is open, CorruptRing if the ring holds bytes that no sender writes,\n"
     "ValueError for a maximum below 1, and ClosedError. Raises EventTruncated, once, if a receiver before this one took\n"
     "the first part of an event and the rest of it is lost."},
    {"try_recv", try_recv, METH_NOARGS,
     "try_recv($self, /)\n--\n\n"
     "Take the next event, copied out of the ring; None if nothing waits. Never waits.\n\n"
     "Raises RecvError when the sender is gone and all its events were taken; else as drain."},
    {"recv", FAST(recv),
     "recv($self, timeout=None)\n--\n\n"
     "Wait up to timeout seconds (None: no limit) for the next event, copied out of the ring; None: time is up.\n\n"
     "Raises RecvError when the sender is gone and all its events were taken; else as drain."},
    {"recv_many", FAST(recv_many),
     "recv_many($self, max_events=1024)\n--\n\n"
     "Take up to max_events events, copied out of the ring; an empty list if nothing waits. Never waits.\n\n"
     "Their space is given back before the call returns. So a process that dies before it applied the list has lost\n"
     "these events; a batch that was not released would be drained again. Raises RecvError when the sender is gone and\n"
     "all its events were taken; else as drain."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot receiver_slots[] = {{Py_tp_methods, receiver_methods}, {0, NULL}};
static PyType_Spec receiver_spec = {"kevy_ring._calls.ReceiverCalls", sizeof(Consumer), 0, CAN_BE_BASE, receiver_slots};

int kr_add_receiver(PyObject *module, kr_state *state) { return kr_add_type(module, &receiver_spec, state->consumer, &state->receiver); }
