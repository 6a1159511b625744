/* The columns of a batch: five arrays with one entry for each record. One call of the core fills them. */
#include "python/calls.h"

Columns *kr_columns_new(kr_state *state, uint64_t room, uint64_t asked)
{
    Columns *columns = (Columns *)kr_alloc(state, state->columns);
    if (!columns)
        return NULL;
    columns->room = room;
    columns->asked = asked;
    if (room > PY_SSIZE_T_MAX / RECORD_COLUMN_BYTES || !(columns->memory = PyMem_Malloc(RECORD_COLUMN_BYTES * (size_t)room))) {
        Py_DECREF(columns);
        PyErr_NoMemory();
        return NULL;
    }
    return columns;
}

/* For numpy. Read-only, because the core reads the columns again. */
static int columns_get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    Columns *columns = (Columns *)self;
    columns->exposed = 1;
    return PyBuffer_FillInfo(view, self, columns->memory, (Py_ssize_t)(RECORD_COLUMN_BYTES * columns->room), 1, flags);
}

static void columns_dealloc(PyObject *self)
{
    PyMem_Free(((Columns *)self)->memory);
    kr_free(self);
}

static PyMemberDef columns_members[] = {{"room", T_ULONGLONG, offsetof(Columns, room), READONLY, NULL}, {NULL, 0, 0, 0, NULL}};
static PyType_Slot columns_slots[] = {
    {Py_tp_members, columns_members}, {Py_bf_getbuffer, columns_get_buffer}, {Py_tp_dealloc, columns_dealloc}, {0, NULL}};
static PyType_Spec columns_spec = {
    "kevy_ring._calls.Columns", sizeof(Columns), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, columns_slots};

int kr_add_columns(PyObject *module, kr_state *state) { return kr_add_type(module, &columns_spec, NULL, &state->columns); }
