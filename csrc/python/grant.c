/* Grants: space in a ring that the application writes in place. If the ring has no room for a chunk, it is ordinary memory. */
#include "python/calls.h"

typedef struct {
    PyObject_HEAD
    kr_state *state;
    Writer *owner;
    Lender *lender; /* NULL: ordinary memory */
    PyObject *view;
    PyObject *handle;      /* the cdata that owns `producer` */
    kr_producer *producer; /* only this grant has a reservation of it, while it is open and in the ring */
    kr_sender *sender;     /* for a chunk: the sender that `producer` is a part of; NULL for a record */
    unsigned long long length;
    unsigned long long index;
    char open, committed;
} Grant;

static void drop_view(Grant *grant)
{
    PyObject *before = grant->view;
    Py_INCREF(grant->state->no_view);
    grant->view = grant->state->no_view;
    Py_XDECREF(before);
}

static void unreserve(kr_producer *producer, kr_sender *sender)
{
    if (sender)
        kr_chunk_abort(sender);
    else
        kr_producer_abort(producer);
}

static PyObject *new_grant(Writer *owner, PyObject *type, int64_t index, uint64_t length)
{
    kr_state *state = owner->state;
    Grant *grant = (Grant *)kr_alloc(state, type);
    if (!grant)
        return NULL;
    grant->owner = (Writer *)Py_NewRef((PyObject *)owner);
    Py_INCREF(owner->handle);
    grant->handle = owner->handle;
    grant->producer = owner->producer;
    grant->length = length;
    grant->sender = owner->sender;
    if (index >= 0) {
        grant->lender = (Lender *)Py_NewRef((PyObject *)owner->lender);
        grant->index = (uint64_t)index;
        grant->view = kr_lend(owner->lender, grant->index, length, 1);
    } else {
        PyObject *memory = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)length);
        grant->view = memory ? PyMemoryView_FromObject(memory) : NULL;
        Py_XDECREF(memory);
    }
    grant->open = grant->view != NULL;
    if (!grant->open)
        Py_CLEAR(grant);
    return (PyObject *)grant;
}

/* A grant for the space that the core has just reserved at `index`. A negative index: the grant is ordinary memory. */
PyObject *kr_grant_new(Writer *owner, PyObject *type, int64_t index, uint64_t length)
{
    PyObject *handle = owner->handle;
    kr_producer *producer = owner->producer;
    kr_sender *sender = owner->sender;
    int collects = PyGC_Disable();
    Py_INCREF(handle);
    PyObject *grant = new_grant(owner, type, index, length);
    kr_resume_gc(collects);
    if (!grant && index >= 0)
        unreserve(producer, sender); /* new_grant() did not do it */
    Py_DECREF(handle);
    return grant;
}

/* Gives the space of an open grant back unwritten, even while views of it are alive. Those views become strays. */
static void give_up(Grant *grant)
{
    if (!grant->open)
        return;
    grant->open = 0;
    drop_view(grant);
    if (!grant->lender)
        return;
    int strays = kr_escaped(grant->lender);
    unreserve(grant->producer, grant->sender);
    if (strays)
        kr_disown(grant->lender);
}

/* Drops the grant's own view of the ring. 0, or -1 with an exception if the application has views or the role was given up. */
static int end_loan(Grant *grant)
{
    kr_role_info info;
    if (!grant->lender)
        return 0;
    /* The handle may be closed while a clone of it still has the role. */
    if (!grant->owner->producer && kr_producer_peer(grant->producer, &info) == KR_E_CLOSED) {
        kr_raise_closed((PyObject *)grant->owner, "closed");
        return -1;
    }
    drop_view(grant);
    if (!kr_escaped(grant->lender))
        return 0;
    PyObject *view = kr_lend(grant->lender, grant->index, grant->length, 1);
    if (!view)
        return -1;
    PyObject *before = grant->view;
    grant->view = view;
    Py_XDECREF(before);
    kr_raise_escaped((PyObject *)grant->owner, grant->length, "grant");
    return -1;
}

/* -------------------------------------------------------------------------------------------------- a commit */

/* Sends a chunk from ordinary memory, with a copy. */
static PyObject *send_copy(Grant *grant, uint64_t bytes)
{
    PyObject *part = PySequence_GetSlice(grant->view, 0, (Py_ssize_t)bytes);
    PyObject *event = part ? PyObject_CallFunction(grant->state->chunk, "N", part) : NULL;
    if (!event)
        return NULL;
    drop_view(grant);
    grant->open = 0;
    grant->committed = 1;
    PyObject *sent = PyObject_CallMethod((PyObject *)grant->owner, "send", "(N)", event);
    Py_XDECREF(sent);
    return sent ? Py_NewRef(Py_None) : NULL;
}

/* Commits the space. No signal handler runs in here, so the state of the grant always matches the reservation of the core. It
 * counts as committed even if the core returns an error. */
static int commit_space(Grant *grant, uint64_t bytes)
{
    kr_sender *sender = grant->sender;
    PyObject *handle = grant->handle; /* keeps the sender */
    int code;
    grant->open = 0;
    grant->committed = 1;
    if (!sender)
        return kr_producer_commit(grant->producer, bytes);
    if (bytes < LARGE_BYTES)
        return kr_chunk_commit(sender, bytes);
    Py_INCREF(handle);
    Py_BEGIN_ALLOW_THREADS /* the core may have to copy the chunk */
    code = kr_chunk_commit(sender, bytes);
    Py_END_ALLOW_THREADS
    Py_DECREF(handle);
    return code;
}

static PyObject *commit(Grant *grant, uint64_t bytes)
{
    if (grant->sender && !grant->lender && bytes)
        return send_copy(grant, bytes);
    if (end_loan(grant) < 0)
        return NULL;
    if (grant->sender && !bytes) {
        grant->committed = 1;
        give_up(grant);
        Py_RETURN_NONE;
    }
    int code = commit_space(grant, bytes);
    if (code < 0)
        return kr_fault((PyObject *)grant->owner, code);
    if (grant->sender && (code & KR_SEND_NO_THREAD) && kr_done(PyObject_CallMethod((PyObject *)grant->owner, "_tell_no_thread", NULL)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *grant_commit_alone(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Grant *grant = (Grant *)self;
    PyObject *number = NULL;
    uint64_t bytes;
    if (kr_only_argument(arguments, count, names, "length", &number) < 0 || kr_clamped_length_of(number, &bytes) < 0)
        return NULL;
    if (!grant->open)
        return kr_raise_closed((PyObject *)grant->owner, grant->committed ? "committed" : "aborted");
    if (bytes > grant->length)
        return PyErr_Format(PyExc_ValueError, "commit of %S bytes into a grant of %llu bytes", number, grant->length);
    return commit(grant, bytes);
}

static PyObject *grant_abort_alone(PyObject *self, PyObject *nothing)
{
    Grant *grant = (Grant *)self;
    if (grant->open && !grant->sender && end_loan(grant) < 0)
        return NULL;
    give_up(grant);
    Py_RETURN_NONE;
}

/* A `with` that ends normally refuses to end while views are alive. After an exception it ends: the traceback may hold views. */
static PyObject *grant_exit_alone(PyObject *self, PyObject *arguments)
{
    if (PyTuple_Size(arguments) && PyTuple_GetItem(arguments, 0) == Py_None)
        return grant_abort_alone(self, NULL);
    give_up((Grant *)self);
    Py_RETURN_NONE;
}

/* ----------------------------------------------------------------------------------------------------- its end */

static int grant_clear(PyObject *self)
{
    Grant *grant = (Grant *)self;
    give_up(grant); /* an open reservation would block every later record */
    Py_CLEAR(grant->owner);
    Py_CLEAR(grant->lender);
    Py_CLEAR(grant->view);
    return 0;
}

static int grant_traverse(PyObject *self, visitproc visit, void *arg)
{
    Grant *grant = (Grant *)self;
    Py_VISIT(grant->owner);
    Py_VISIT(grant->view);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void grant_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    grant_clear(self);
    Py_CLEAR(((Grant *)self)->handle);
    kr_free(self);
}

static PyObject *grant_repr(PyObject *self)
{
    Grant *grant = (Grant *)self;
    PyObject *name = PyObject_GetAttrString((PyObject *)grant->owner, "name"), *type = PyType_GetName(Py_TYPE(self)), *text = NULL;
    if (name && type)
        text = PyUnicode_FromFormat("<%U of ring %R, %llu bytes: %s>", type, name, grant->length,
                                    grant->open ? "open" : grant->committed ? "committed" : "given up");
    Py_XDECREF(name);
    Py_XDECREF(type);
    return text;
}

static PyObject *grant_in_ring(PyObject *self, void *nothing) { return PyBool_FromLong(((Grant *)self)->lender != NULL); }

ALONE_FAST(grant_commit)
ALONE(grant_abort)
ALONE(grant_exit)

#define COMMIT "commit($self, length)\n--\n\n"
#define FAILURES                                                                                                              \
    "Raises ValueError for a length beyond the grant, ViewsEscaped while views of it are alive, and ClosedError if the\n"      \
    "grant was committed or aborted before, or its handle was closed"
static PyMethodDef grant_methods[] = {
    {"commit", FAST(grant_commit),
     COMMIT "Make the first length bytes a record. The consumer sees it after the next publish().\n\n" FAILURES "."},
    {"abort", grant_abort, METH_NOARGS,
     "abort($self, /)\n--\n\nGive the space back unwritten. Raises ViewsEscaped while views of the grant are alive."},
    {"__enter__", kr_enter, METH_NOARGS, NULL},
    {"__exit__", grant_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};
static PyMethodDef chunk_methods[] = {
    {"commit", FAST(grant_commit), COMMIT "Send the first length bytes as a chunk. With 0 bytes nothing is sent.\n\n" FAILURES "; also the errors of send."},
    {"abort", grant_abort, METH_NOARGS, "abort($self, /)\n--\n\nGive the space back. Nothing is sent."},
    {NULL, NULL, 0, NULL}};
static PyMemberDef grant_members[] = {
    {"view", T_OBJECT, offsetof(Grant, view), READONLY, NULL}, {NULL, 0, 0, 0, NULL}};
static PyMemberDef chunk_members[] = {{"length", T_ULONGLONG, offsetof(Grant, length), READONLY, NULL}, {NULL, 0, 0, 0, NULL}};
static PyGetSetDef chunk_getters[] = {{"in_ring", grant_in_ring, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};
static const char grant_doc[] =
    "Writable space in the ring for one record: view is a writable memoryview of the requested length.\n\n"
    "A context manager: a with that ends without a commit gives the space back.\n\n"
    "    grant = producer.try_reserve(4096)\n    if grant is not None:\n        with grant:\n"
    "            grant.commit(sock.recv_into(grant.view))\n        producer.publish()\n";
static const char chunk_doc[] =
    "Writable space for one chunk of a snapshot: view is a writable memoryview of length bytes.\n\n"
    "in_ring: whether the space is in the ring. Else it is ordinary memory, which commit copies.\n";
static PyType_Slot grant_slots[] = {
    {Py_tp_methods, grant_methods},   {Py_tp_members, grant_members}, {Py_tp_dealloc, grant_dealloc}, {Py_tp_repr, grant_repr},
    {Py_tp_traverse, grant_traverse}, {Py_tp_clear, grant_clear},     {Py_tp_doc, (void *)grant_doc}, {0, NULL}};
static PyType_Slot chunk_slots[] = {
    {Py_tp_methods, chunk_methods},  {Py_tp_members, chunk_members}, {Py_tp_getset, chunk_getters},
    {Py_tp_doc, (void *)chunk_doc}, {0, NULL}};
#define MADE_HERE (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION)
static PyType_Spec grant_spec = {"kevy_ring._calls.Grant", sizeof(Grant), 0, MADE_HERE | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, grant_slots};
static PyType_Spec chunk_spec = {"kevy_ring._calls.ChunkGrant", sizeof(Grant), 0, MADE_HERE, chunk_slots};

int kr_add_grants(PyObject *module, kr_state *state)
{
    if (kr_add_type(module, &grant_spec, NULL, &state->grant) < 0)
        return -1;
    return kr_add_type(module, &chunk_spec, state->grant, &state->chunk_grant);
}
