/* Loans of a mapped area: memoryviews that are counted while they are alive. */
#include "python/calls.h"

typedef struct {
    PyObject_HEAD
    kr_state *state;
    Lender *lender;
    unsigned long long index, length, turn;
    char writable;
} Loan;

/* ------------------------------------------------------------------------------------------------- one loan */

static int loan_get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    Loan *loan = (Loan *)self;
    return PyBuffer_FillInfo(view, self, loan->lender->at + loan->index, (Py_ssize_t)loan->length, !loan->writable, flags);
}

static void loan_dealloc(PyObject *self)
{
    Loan *loan = (Loan *)self;
    Lender *lender = loan->lender;
    if (lender) {
        BEGIN_ALONE(lender)
        unsigned long long *count = loan->turn == lender->turn ? &lender->alive : &lender->strays;
        --*count;
        END_ALONE()
    }
    Py_XDECREF((PyObject *)lender);
    kr_free(self);
}

/* A view of `length` bytes from `index` on. Without garbage collection: if a finalizer closed the handle here, the close would not
 * count this view yet and would not cut it off. */
PyObject *kr_lend(Lender *lender, uint64_t index, uint64_t length, int writable)
{
    PyObject *view = NULL;
    int collects = PyGC_Disable();
    Loan *loan = (Loan *)kr_alloc(lender->state, lender->state->loan);
    if (loan) {
        loan->lender = (Lender *)Py_NewRef((PyObject *)lender);
        loan->index = index;
        loan->length = length;
        loan->writable = (char)writable;
        BEGIN_ALONE(lender)
        lender->index = index;
        lender->length = length;
        loan->turn = lender->turn;
        lender->alive++;
        END_ALONE()
        view = PyMemoryView_FromObject((PyObject *)loan);
        Py_DECREF(loan);
    }
    kr_resume_gc(collects);
    return view;
}

/* ------------------------------------------------------------------------------------------------- the lender */

/* Whether a view of a loan of this turn is alive. */
int kr_escaped(Lender *lender)
{
    int escaped;
    BEGIN_ALONE(lender)
    escaped = lender->alive > 0;
    END_ALONE()
    return escaped;
}

/* Ends the turn, even while views of it are alive. These become strays: kr_escaped() ignores them, end() does not. */
void kr_disown(Lender *lender)
{
    BEGIN_ALONE(lender)
    lender->strays += lender->alive;
    lender->alive = 0;
    lender->turn++;
    END_ALONE()
}

static PyObject *lender_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    PyObject *area;
    unsigned long long address, bytes;
    Lender *lender = (Lender *)kr_new(type, arguments, names);
    if (!lender || !PyArg_ParseTuple(arguments, "OKK", &area, &address, &bytes)) {
        Py_XDECREF((PyObject *)lender);
        return NULL;
    }
    Py_INCREF(area);
    lender->area = area;
    lender->at = (char *)(uintptr_t)address;
    lender->bytes = bytes;
    return (PyObject *)lender;
}

static PyObject *lender_escaped(PyObject *self, PyObject *nothing) { return PyBool_FromLong(kr_escaped((Lender *)self)); }

static PyObject *may_be_written(PyObject *self, void *nothing)
{
    return PyBool_FromLong(kr_escaped((Lender *)self) || ((Lender *)self)->strays);
}

/* Gives the live views a private copy of their bytes. The ring does not use the area after this. */
static PyObject *lender_end_alone(PyObject *self, PyObject *nothing)
{
    Lender *lender = (Lender *)self;
    int code = 0;
    if (lender->strays)
        code = kr_area_freeze(lender->at, 0, lender->bytes);
    else if (kr_escaped(lender))
        code = kr_area_freeze(lender->at, lender->index, lender->length);
    return PyLong_FromLong(code);
}

static void lender_dealloc(PyObject *self)
{
    Py_XDECREF(((Lender *)self)->area);
    kr_free(self);
}

ALONE(lender_end)

static PyMethodDef lender_methods[] = {
    {"escaped", lender_escaped, METH_NOARGS, "escaped($self, /)\n--\n\nWhether a view of the last loan is alive."},
    {"end", lender_end, METH_NOARGS,
     "end($self, /)\n--\n\n"
     "Give the area up: views that are alive get a private copy of their bytes.\n\n"
     "Returns 0, or the core's error code if there is no memory for the copy."},
    {NULL, NULL, 0, NULL}};
static PyMemberDef lender_members[] = {{"area", T_OBJECT, offsetof(Lender, area), READONLY, NULL}, {NULL, 0, 0, 0, NULL}};
static PyGetSetDef lender_getters[] = {{"may_be_written", may_be_written, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot lender_slots[] = {{Py_tp_new, lender_new},
                                     {Py_tp_methods, lender_methods},
                                     {Py_tp_members, lender_members},
                                     {Py_tp_getset, lender_getters},
                                     {Py_tp_dealloc, lender_dealloc},
                                     {0, NULL}};
static PyType_Slot loan_slots[] = {{Py_bf_getbuffer, loan_get_buffer}, {Py_tp_dealloc, loan_dealloc}, {0, NULL}};
static PyType_Spec lender_spec = {"kevy_ring._calls.Lender", sizeof(Lender), 0, Py_TPFLAGS_DEFAULT, lender_slots};
static PyType_Spec loan_spec = {"kevy_ring._calls.Loan", sizeof(Loan), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, loan_slots};

int kr_add_lenders(PyObject *module, kr_state *state)
{
    return kr_add_type(module, &lender_spec, NULL, &state->lender) < 0 || kr_add_type(module, &loan_spec, NULL, &state->loan) < 0 ? -1 : 0;
}
