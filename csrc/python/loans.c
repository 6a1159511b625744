/* Space of a ring, lent to be written in place: what a loan costs in Python is more than the copy of some thousand
 * bytes. What is not plain, every error included, is left to the method in Python that is named beside each. */
#include "python/calls.h"


typedef struct {
    PyObject_HEAD
    PyObject *exporter; /* of the whole area; held by this object and by every view that was made of it */
    unsigned long long index, length; /* of the last loan */
} LenderCalls;

typedef struct {
    PyObject_HEAD
    PyObject *owner; /* the producer or the sender that lent it */
    PyObject *lender, *view;
    PyObject *end; /* of a chunk, for the long way; NULL: a record of a ring */
    PyObject *handle; /* the cdata that owns `producer` */
    kr_sender *sender; /* of a chunk; NULL: of a record of a ring */
    kr_producer *producer; /* in which `open` and `in_ring` together mean a reservation, and nothing else does */
    unsigned long long index, length;
    char open, in_ring, committed;
} GrantCalls;

static PyObject *lender_type, *no_view, *name_grant_type, *name_end;

/* -------------------------------------------------------------------------------------------------- lenders */

int kr_is_lender(PyObject *object)
{
    return object && PyObject_TypeCheck(object, (PyTypeObject *)lender_type) && ((LenderCalls *)object)->exporter;
}

/* A writable view. The exporter counts the views, so each loan is one view of its own. No garbage is collected meanwhile:
 * a finalizer is any code at all, and might close the very handle, which then counts no view and lets go of the lender. */
PyObject *kr_lend(PyObject *self, uint64_t index, uint64_t length)
{
    LenderCalls *lender = (LenderCalls *)self;
    int collects = PyGC_Disable();
    PyObject *area = PyMemoryView_FromObject(lender->exporter), *view = NULL;
    if (area) {
        lender->index = index;
        lender->length = length;
        view = PySequence_GetSlice(area, (Py_ssize_t)index, (Py_ssize_t)(index + length));
        Py_DECREF(area);
    }
    if (collects)
        PyGC_Enable();
    return view;
}

/* Newer interpreters keep flags above the 32 bits that count. */
int kr_escaped(PyObject *lender) { return (uint32_t)Py_REFCNT(((LenderCalls *)lender)->exporter) > 1; }

void kr_last_loan(PyObject *lender, unsigned long long *index, unsigned long long *length)
{
    *index = ((LenderCalls *)lender)->index;
    *length = ((LenderCalls *)lender)->length;
}

static PyObject *lender_escaped(PyObject *self, PyObject *nothing)
{
    return PyBool_FromLong(kr_is_lender(self) && kr_escaped(self));
}

static PyObject *lender_writable(PyObject *self, PyObject *arguments)
{
    unsigned long long index, length;
    if (!PyArg_ParseTuple(arguments, "KK", &index, &length))
        return NULL;
    if (kr_is_lender(self))
        return kr_lend(self, index, length);
    PyErr_SetString(PyExc_ValueError, "nothing to lend");
    return NULL;
}

static void lender_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((LenderCalls *)self)->exporter);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* --------------------------------------------------------------------------------------------------- grants */

static void put_view(GrantCalls *grant, PyObject *view)
{
    PyObject *before = grant->view;
    grant->view = view;
    Py_XDECREF(before);
}

static int grant_clear(PyObject *self)
{
    GrantCalls *grant = (GrantCalls *)self;
    Py_CLEAR(grant->owner);
    Py_CLEAR(grant->lender);
    Py_CLEAR(grant->view);
    Py_CLEAR(grant->end);
    return 0;
}

static int grant_traverse(PyObject *self, visitproc visit, void *arg)
{
    GrantCalls *grant = (GrantCalls *)self;
    Py_VISIT(grant->owner);
    Py_VISIT(grant->lender);
    Py_VISIT(grant->view);
    Py_VISIT(grant->end);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void grant_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    grant_clear(self);
    Py_CLEAR(((GrantCalls *)self)->handle);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static void bind(GrantCalls *grant, PyObject *handle, kr_producer *producer, kr_sender *sender)
{
    PyObject *before = grant->handle;
    Py_INCREF(handle);
    grant->handle = handle;
    grant->producer = producer;
    grant->sender = sender;
    Py_XDECREF(before);
}

/* Of the class that the owner names, without the call of its __init__. */
static PyObject *new_grant(PyObject *owner, PyObject *handle, kr_producer *producer, kr_sender *sender, uint64_t index, uint64_t length)
{
    PyObject *type = PyObject_GetAttr(owner, name_grant_type), *lender = ((ProducerCalls *)owner)->lender;
    if (!type)
        return NULL;
    Py_INCREF(lender);
    GrantCalls *grant = (GrantCalls *)((allocfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_alloc))((PyTypeObject *)type, 0);
    Py_DECREF(type);
    if (!grant) {
        Py_DECREF(lender);
        return NULL;
    }
    Py_INCREF(owner);
    grant->owner = owner;
    grant->lender = lender;
    grant->index = index;
    grant->length = length;
    bind(grant, handle, producer, sender);
    grant->open = grant->in_ring = 1;
    grant->view = kr_lend(lender, index, length);
    grant->end = sender ? PyObject_GetAttr(owner, name_end) : NULL;
    if (!grant->view || (sender && !grant->end)) {
        grant->open = 0; /* the caller gives the space back, once */
        Py_CLEAR(grant);
    }
    return (PyObject *)grant;
}

/* The one argument of a method, a length in bytes: up to `most` what it is; else -1, and `*length` goes the long way.
 * NULL there with an exception: none was given. */
static int64_t plain_length(PyObject *const *arguments, Py_ssize_t count, PyObject *names, int64_t most, PyObject **length)
{
    *length = NULL;
    if (kr_only_argument(arguments, count, names, "length", length) < 0)
        return -1;
    if (!*length) {
        PyErr_SetString(PyExc_TypeError, "a length in bytes is missing");
        return -1;
    }
    long long bytes = PyLong_CheckExact(*length) ? PyLong_AsLongLong(*length) : -1;
    if (bytes == -1)
        PyErr_Clear();
    return bytes <= most ? bytes : -1;
}

static int refuse(PyObject *self, int code)
{
    PyObject *nothing = PyObject_CallMethod(self, "_refused", "i", code);
    Py_XDECREF(nothing);
    return -1;
}

static void give_back(kr_producer *producer, kr_sender *sender)
{
    if (sender)
        kr_chunk_abort(sender);
    else
        kr_producer_abort(producer);
}

/* No garbage is collected between the core's word and the grant: a finalizer might close this very producer. */
static PyObject *granted(PyObject *self, int64_t index, int64_t length)
{
    PyObject *handle = ((ProducerCalls *)self)->handle;
    kr_producer *producer = ((ProducerCalls *)self)->producer;
    kr_sender *sender = ((ProducerCalls *)self)->sender;
    int collects = PyGC_Disable();
    Py_INCREF(handle);
    PyObject *grant = new_grant(self, handle, producer, sender, (uint64_t)index, (uint64_t)length);
    if (collects)
        PyGC_Enable();
    if (!grant)
        give_back(producer, sender);
    Py_DECREF(handle);
    return grant;
}

static int can_lend(const ProducerCalls *calls) { return calls->producer && kr_is_lender(calls->lender); }

PyObject *kr_try_reserve(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    ProducerCalls *calls = (ProducerCalls *)self;
    PyObject *length;
    int64_t bytes = plain_length(arguments, count, names, UINT32_MAX, &length);
    if (bytes >= 0 && can_lend(calls)) {
        int64_t index = kr_producer_reserve(calls->producer, (uint64_t)bytes);
        if (index >= 0)
            return granted(self, index, bytes);
        if (index == KR_RESERVE_FULL)
            Py_RETURN_NONE;
    }
    return length ? kr_leave_to(self, "_try_reserve", length) : NULL;
}

/* What is left of the long way of a reservation, once there is a lender. No signal's handler comes between the core's word
 * and the grant. */
PyObject *kr_reserve(PyObject *self, PyObject *number)
{
    ProducerCalls *calls = (ProducerCalls *)self;
    PyObject *length = PyNumber_Index(number);
    unsigned long long bytes = length ? PyLong_AsUnsignedLongLong(length) : UINT64_MAX;
    Py_XDECREF(length);
    if (bytes == UINT64_MAX && PyErr_Occurred())
        return NULL;
    int64_t index = can_lend(calls) ? kr_producer_reserve(calls->producer, bytes) : KR_E_CLOSED;
    if (index >= 0)
        return granted(self, index, (int64_t)bytes);
    if (index == KR_RESERVE_FULL)
        Py_RETURN_NONE;
    refuse(self, (int)index);
    return NULL;
}

PyObject *kr_reserve_chunk(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    ProducerCalls *calls = (ProducerCalls *)self;
    PyObject *length;
    int64_t bytes = plain_length(arguments, count, names, KR_CHUNK_MAX, &length);
    if (bytes > 0 && can_lend(calls)) {
        int64_t index = kr_chunk_reserve(calls->sender, (uint64_t)bytes);
        if (index >= 0)
            return granted(self, index, bytes);
        return PyObject_CallMethod(self, "_reserve_chunk", "OL", length, (long long)index);
    }
    return length ? kr_leave_to(self, "_reserve_chunk", length) : NULL;
}

PyObject *kr_publish(PyObject *self, PyObject *nothing)
{
    kr_producer *producer = ((ProducerCalls *)self)->producer;
    if (producer && kr_producer_publish(producer) >= 0)
        Py_RETURN_NONE;
    return kr_leave_to(self, "_publish", NULL);
}

/* Ends the loan of an open grant: 1. 0: not so plain; its view may be gone, which the long way puts right. */
static int let_go(GrantCalls *grant)
{
    if (!grant->open || !grant->in_ring || !can_lend((ProducerCalls *)grant->owner) || !kr_is_lender(grant->lender))
        return 0;
    Py_INCREF(no_view);
    put_view(grant, no_view);
    if (kr_escaped(grant->lender))
        return 0;
    grant->open = 0;
    return 1;
}

/* The grant has let go of its space. It counts as committed whatever the core answers. */
static int commit(GrantCalls *grant, uint64_t bytes)
{
    int code;
    grant->committed = 1;
    if (!grant->sender)
        return kr_producer_commit(grant->producer, bytes);
    if (bytes < LARGE_BYTES)
        return kr_chunk_commit(grant->sender, bytes);
    PyObject *handle = grant->handle; /* which keeps the sender */
    kr_sender *sender = grant->sender;
    Py_INCREF(handle);
    Py_BEGIN_ALLOW_THREADS /* it may have to be copied */
    code = kr_chunk_commit(sender, bytes);
    Py_END_ALLOW_THREADS
    Py_DECREF(handle);
    return code;
}

/* Commits `length` bytes of a grant whose loan was ended in Python. One step, whatever a signal's handler raises: the
 * grant never says that it holds no space while the core has it reserved. */
static PyObject *grant_commit_space(PyObject *self, PyObject *arguments)
{
    GrantCalls *grant = (GrantCalls *)self;
    unsigned long long length;
    if (!PyArg_ParseTuple(arguments, "K", &length))
        return NULL;
    if (!grant->open || !grant->in_ring)
        return PyLong_FromLong(KR_E_CLOSED);
    grant->open = 0;
    return PyLong_FromLong(commit(grant, length));
}

static PyObject *grant_commit(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    GrantCalls *grant = (GrantCalls *)self;
    PyObject *length;
    int64_t bytes = plain_length(arguments, count, names, UINT32_MAX, &length);
    if (bytes < (grant->end ? 1 : 0) || (uint64_t)bytes > grant->length || !let_go(grant))
        return length ? kr_leave_to(self, "_commit", length) : NULL;
    int code = commit(grant, (uint64_t)bytes);
    if (code == KR_SEND_RING || code == KR_SEND_OVERFLOW)
        Py_RETURN_NONE;
    return PyObject_CallMethod(self, "_committed", "i", code);
}

/* Gives the space of an open grant back unwritten, even while views of it are left. Later loans do not count those. */
static void give_up(GrantCalls *grant)
{
    if (!grant->open)
        return;
    grant->open = 0;
    Py_INCREF(no_view);
    put_view(grant, no_view);
    if (!grant->in_ring)
        return;
    int strays = kr_is_lender(grant->lender) && kr_escaped(grant->lender);
    give_back(grant->producer, grant->sender);
    if (strays) {
        PyObject *nothing = kr_leave_to(grant->lender, "disown", NULL);
        Py_XDECREF(nothing);
    }
}

static PyObject *grant_give_up(PyObject *self, PyObject *nothing)
{
    give_up((GrantCalls *)self);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* The last reference to an open grant is gone. Its space would block every later record, so give it back. */
static void grant_finalize(PyObject *self)
{
    PyObject *kind, *value, *trace;
    if (!((GrantCalls *)self)->open)
        return;
    PyErr_Fetch(&kind, &value, &trace);
    give_up((GrantCalls *)self);
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(self);
    PyErr_Restore(kind, value, trace);
}

/* The core's word to `length` bytes, for a chunk that is made the long way, of a sender's handle of cffi and its address. */
static PyObject *grant_reserve(PyObject *self, PyObject *arguments)
{
    GrantCalls *grant = (GrantCalls *)self;
    PyObject *handle;
    unsigned long long address, length;
    if (!PyArg_ParseTuple(arguments, "OKK", &handle, &address, &length))
        return NULL;
    kr_sender *sender = (kr_sender *)(uintptr_t)address;
    bind(grant, handle, kr_sender_producer(sender), sender);
    int64_t index = kr_chunk_reserve(sender, length);
    if (index >= 0) {
        grant->index = (uint64_t)index;
        grant->open = grant->in_ring = 1;
    }
    return PyLong_FromLongLong(index);
}

static PyObject *grant_enter(PyObject *self, PyObject *nothing)
{
    Py_INCREF(self);
    return self;
}

/* A `with` that ends normally asks for the views first; what an exception's traceback holds does not matter. */
static PyObject *grant_exit(PyObject *self, PyObject *arguments)
{
    int normally = PyTuple_Size(arguments) && PyTuple_GetItem(arguments, 0) == Py_None;
    if (!((GrantCalls *)self)->open)
        Py_RETURN_NONE;
    return normally ? kr_leave_to(self, "abort", NULL) : grant_give_up(self, NULL);
}

/* -------------------------------------------------------------------------------------------------- the types */

static PyMethodDef lender_methods[] = {
    {"writable", lender_writable, METH_VARARGS, NULL}, {"escaped", lender_escaped, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyMemberDef lender_members[] = {
    {"_exporter", T_OBJECT, offsetof(LenderCalls, exporter), 0, NULL},
    {"_index", T_ULONGLONG, offsetof(LenderCalls, index), 0, NULL},
    {"_length", T_ULONGLONG, offsetof(LenderCalls, length), 0, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyType_Slot lender_slots[] = {
    {Py_tp_methods, lender_methods}, {Py_tp_members, lender_members}, {Py_tp_dealloc, lender_dealloc}, {0, NULL}};

static PyMethodDef grant_methods[] = {
    {"commit", (PyCFunction)(void (*)(void))grant_commit, METH_FASTCALL | METH_KEYWORDS,
     "commit($self, length)\n--\n\n"
     "Make a record of the first length bytes: of a ring it is seen at the next publish, a chunk is sent (0: it is not).\n\n"
     "Raises ValueError for a length beyond the grant, ViewsEscaped while views of it are kept, ClosedError when the\n"
     "grant was committed or aborted before, or its producer was closed; of a chunk also what send raises."},
    {"_give_up", grant_give_up, METH_NOARGS, NULL},
    {"_reserve", grant_reserve, METH_VARARGS, NULL},
    {"_commit_space", grant_commit_space, METH_VARARGS, NULL},
    {"__enter__", grant_enter, METH_NOARGS, NULL},
    {"__exit__", grant_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};
static PyMemberDef grant_members[] = {
    {"_owner", T_OBJECT, offsetof(GrantCalls, owner), 0, NULL},
    {"_lender", T_OBJECT, offsetof(GrantCalls, lender), 0, NULL},
    {"_end", T_OBJECT, offsetof(GrantCalls, end), 0, NULL},
    {"view", T_OBJECT, offsetof(GrantCalls, view), 0, NULL},
    {"_index", T_ULONGLONG, offsetof(GrantCalls, index), 0, NULL},
    {"_length", T_ULONGLONG, offsetof(GrantCalls, length), 0, NULL},
    {"_open", T_BOOL, offsetof(GrantCalls, open), 0, NULL},
    {"_in_ring", T_BOOL, offsetof(GrantCalls, in_ring), 0, NULL},
    {"_was_committed", T_BOOL, offsetof(GrantCalls, committed), 0, NULL},
    {NULL, 0, 0, 0, NULL}};
static PyType_Slot grant_slots[] = {
    {Py_tp_methods, grant_methods},   {Py_tp_members, grant_members}, {Py_tp_dealloc, grant_dealloc},
    {Py_tp_traverse, grant_traverse}, {Py_tp_clear, grant_clear},     {Py_tp_finalize, grant_finalize},
    {0, NULL}};

#define CAN_BE_BASE (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE)
static PyType_Spec lender_spec = {"kevy_ring._calls.LenderCalls", sizeof(LenderCalls), 0, CAN_BE_BASE, lender_slots};
static PyType_Spec grant_spec = {"kevy_ring._calls.GrantCalls", sizeof(GrantCalls), 0, CAN_BE_BASE | Py_TPFLAGS_HAVE_GC, grant_slots};

int kr_add_loans(PyObject *module)
{
    PyObject *nothing = PyBytes_FromStringAndSize(NULL, 0);
    no_view = nothing ? PyMemoryView_FromObject(nothing) : NULL;
    Py_XDECREF(nothing);
    name_grant_type = PyUnicode_InternFromString("_grant_type");
    name_end = PyUnicode_InternFromString("_end");
    if (!no_view || !name_grant_type || !name_end)
        return -1;
    return kr_add_type(module, "LenderCalls", &lender_spec, NULL, &lender_type) ||
           kr_add_type(module, "GrantCalls", &grant_spec, NULL, NULL);
}
