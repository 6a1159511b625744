/* The producer of a ring: writes records from any bytes-like objects. */
#include "python/calls.h"

/* ------------------------------------------------------------------------ what a producer shares with a sender */

/* Arguments: the core's handle, its address, and the lender of its area. For a handle that is closed: None, 0, None. */
static PyObject *writer_bind_alone(PyObject *self, PyObject *arguments)
{
    Writer *writer = (Writer *)self;
    PyObject *handle, *lender, *old_handle = writer->handle, *old_lender = (PyObject *)writer->lender;
    unsigned long long address;
    if (!PyArg_ParseTuple(arguments, "OKO", &handle, &address, &lender))
        return NULL;
    if (address && !PyObject_TypeCheck(lender, (PyTypeObject *)writer->state->lender)) {
        PyErr_SetString(PyExc_TypeError, "a handle needs the lender of its area");
        return NULL;
    }
    int is_sender = address && PyObject_TypeCheck(self, (PyTypeObject *)writer->state->sender);
    writer->sender = is_sender ? (kr_sender *)(uintptr_t)address : NULL;
    writer->producer = is_sender ? kr_sender_producer(writer->sender) : (kr_producer *)(uintptr_t)address;
    writer->handle = address ? Py_NewRef(handle) : NULL;
    writer->lender = address ? (Lender *)Py_NewRef(lender) : NULL;
    Py_XDECREF(old_handle);
    Py_XDECREF(old_lender);
    Py_RETURN_NONE;
}

PyObject *kr_writer_bind(PyObject *self, PyObject *arguments)
{
    PyObject *answer;
    BEGIN_ALONE(self)
    answer = writer_bind_alone(self, arguments);
    END_ALONE()
    return answer;
}

/* Takes the role at the first use. 0, or -1 with an exception, which is ClosedError for a closed handle. */
int kr_writer_claim(Writer *writer)
{
    if (kr_done(PyObject_CallMethod((PyObject *)writer, "_claim", NULL)) < 0)
        return -1;
    if (writer->producer)
        return 0;
    kr_raise_closed((PyObject *)writer, "closed"); /* another thread closed it meanwhile */
    return -1;
}

void kr_writer_dealloc(PyObject *self)
{
    Py_XDECREF(((Writer *)self)->handle);
    Py_XDECREF((PyObject *)((Writer *)self)->lender);
    kr_free(self);
}

/* ---------------------------------------------------------------------------------------------------- records */

static int64_t write_pieces(Writer *writer, struct kr_pieces *pieces)
{
    kr_producer *producer = writer->producer;
    PyObject *handle = writer->handle;
    int64_t done;
    if (pieces->total < LARGE_BYTES)
        return kr_producer_write_pieces(producer, pieces->pieces, pieces->count);
    Py_INCREF(handle); /* keeps the producer */
    Py_BEGIN_ALLOW_THREADS
    done = kr_producer_write_pieces(producer, pieces->pieces, pieces->count);
    Py_END_ALLOW_THREADS
    Py_DECREF(handle);
    return done;
}

/* Writes one record, or those of a sequence. Returns how many fitted; -1 with an exception. */
static int64_t write_all(Writer *writer, PyObject *records, int (*add)(struct kr_pieces *, PyObject *))
{
    struct kr_pieces pieces;
    int64_t done = -1;
    if (kr_writer_ready(writer) < 0)
        return -1;
    kr_pieces_begin(&pieces);
    int answer = add(&pieces, records);
    if (answer == PIECES_AGAIN) {
        kr_pieces_hold(&pieces);
        answer = add(&pieces, records);
    }
    if (!answer && kr_writer_ready(writer) == 0) { /* again: Python code may have run and closed it */
        done = write_pieces(writer, &pieces);
        if (done < 0)
            kr_fault((PyObject *)writer, done);
    }
    kr_pieces_end(&pieces);
    return done < 0 ? -1 : done;
}

static PyObject *try_write_alone(PyObject *self, PyObject *record)
{
    int64_t done = write_all((Writer *)self, record, kr_pieces_add);
    return done < 0 ? NULL : PyBool_FromLong((long)done);
}

static PyObject *write_many_alone(PyObject *self, PyObject *records)
{
    if (kr_check_sequence(records, "records are a list, or another sequence, of bytes-like objects, and not a %U: write_many "
                                   "returns how many of them fitted") < 0)
        return NULL;
    int64_t done = write_all((Writer *)self, records, kr_pieces_add_all);
    return done < 0 ? NULL : PyLong_FromLongLong(done);
}

static PyObject *try_reserve_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Writer *writer = (Writer *)self;
    PyObject *number = NULL;
    uint64_t length;
    if (kr_only_argument(arguments, count, names, "length", &number) < 0 || kr_length_of(number, &length) < 0 || kr_writer_ready(writer) < 0)
        return NULL;
    int64_t index = kr_producer_reserve(writer->producer, length);
    if (index >= 0)
        return kr_grant_new(writer, writer->state->grant, index, length);
    if (index == KR_RESERVE_FULL)
        Py_RETURN_NONE;
    return kr_fault(self, index);
}

static PyObject *publish_alone(PyObject *self, PyObject *nothing)
{
    if (kr_writer_ready((Writer *)self) < 0)
        return NULL;
    int code = kr_producer_publish(((Writer *)self)->producer);
    if (code < 0)
        return kr_fault(self, code);
    Py_RETURN_NONE;
}

ALONE(try_write)
ALONE(write_many)
ALONE_FAST(try_reserve)
ALONE(publish)

static PyMethodDef producer_methods[] = {
    {"_bind", kr_writer_bind, METH_VARARGS, NULL},
    {"try_write", try_write, METH_O,
     "try_write($self, record, /)\n--\n\n"
     "Write one record, any bytes-like object, and publish it. False: the ring is full now. Never waits.\n\n"
     "Raises ValueError for a record larger than the ring, TypeError for an object that is not bytes-like or not\n"
     "contiguous, SendError when the consumer is gone, and ClosedError."},
    {"write_many", write_many, METH_O,
     "write_many($self, records, /)\n--\n\n"
     "Write a sequence of records in order until one does not fit; one publish. Returns how many fitted.\n\n"
     "Never waits. Raises as try_write, but ValueError only if the first record is larger than the ring: a later one ends\n"
     "the call."},
    {"try_reserve", FAST(try_reserve),
     "try_reserve($self, length)\n--\n\n"
     "Reserve space for one record of at most length bytes, to write it in place. None: the ring is full now.\n\n"
     "One grant at a time: KevyRingError while another one is open. Raises ValueError for a length larger than the\n"
     "ring, OverflowError for one outside 64 bits, SendError when the consumer is gone, and ClosedError."},
    {"publish", publish, METH_NOARGS,
     "publish($self, /)\n--\n\nReveal all committed records to the consumer with one store. Raises ClosedError."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot producer_slots[] = {{Py_tp_new, kr_new},
                                       {Py_tp_methods, producer_methods},
                                       {Py_tp_dealloc, kr_writer_dealloc},
                                       {0, NULL}};
static PyType_Spec producer_spec = {"kevy_ring._calls.ProducerCalls", sizeof(Writer), 0, CAN_BE_BASE, producer_slots};

int kr_add_producer(PyObject *module, kr_state *state) { return kr_add_type(module, &producer_spec, NULL, &state->producer); }
