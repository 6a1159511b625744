/* The module kevy_ring._calls. It is part of the library that cffi builds for kevy_ring._core; src/kevy_ring/_calls.py loads it
 * from there. Each interpreter of a process has its own module, with its own state. */
#include "python/calls.h"

/* ------------------------------------------------------------------------------------------------- the objects */

/* A new object of `type`. Its state is set, and all other fields are 0. */
PyObject *kr_alloc(kr_state *state, PyObject *type)
{
    PyObject *self = PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (self)
        ((kr_object *)self)->state = state;
    return self;
}

void kr_free(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* The state of the module that made `type` or one of its bases. The type keeps the module alive. */
static kr_state *state_of(PyTypeObject *type)
{
    for (; type; type = PyType_GetSlot(type, Py_tp_base)) {
        kr_state *state = PyType_GetFlags(type) & Py_TPFLAGS_HEAPTYPE ? PyType_GetModuleState(type) : NULL;
        if (state)
            return state;
        PyErr_Clear();
    }
    PyErr_SetString(PyExc_SystemError, "this type is not derived from a type of kevy_ring._calls");
    return NULL;
}

/* For Py_tp_new. It ignores the arguments: __init__ in Python takes them. */
PyObject *kr_new(PyTypeObject *type, PyObject *arguments, PyObject *names)
{
    kr_state *state = state_of(type);
    return state ? kr_alloc(state, (PyObject *)type) : NULL;
}

/* The __enter__ of batches and grants. */
PyObject *kr_enter(PyObject *self, PyObject *nothing) { return Py_NewRef(self); }

/* Makes a type and adds it to the module. 0, or -1 with an exception. */
int kr_add_type(PyObject *module, PyType_Spec *spec, PyObject *base, PyObject **made)
{
    *made = PyType_FromModuleAndSpec(module, spec, base);
    return *made ? PyModule_AddType(module, (PyTypeObject *)*made) : -1;
}

/* -------------------------------------------------------------------------------------------------- the module */

/* Stores the classes of events, which are written in Python. */
static PyObject *know_events(PyObject *module, PyObject *arguments)
{
    kr_state *state = PyModule_GetState(module);
    PyObject *found[6], **places[] = {&state->frame,        &state->chunk,       &state->snapshot_begin,
                                      &state->snapshot_end, &state->batch_frame, &state->batch_chunk};
    if (!PyArg_ParseTuple(arguments, "OOOOOO", found, found + 1, found + 2, found + 3, found + 4, found + 5))
        return NULL;
    for (int i = 0; i < 6; i++) {
        PyObject *before = *places[i];
        Py_INCREF(found[i]);
        *places[i] = found[i];
        Py_XDECREF(before);
    }
    Py_CLEAR(state->frame_offset);
    Py_CLEAR(state->frame_argv);
    state->frame_offset = PyObject_GetAttr(state->frame, state->offset);
    state->frame_argv = state->frame_offset ? PyObject_GetAttr(state->frame, state->argv) : NULL;
    if (!state->frame_argv)
        return NULL;
    state->get_slot = (descrgetfunc)PyType_GetSlot(Py_TYPE(state->frame_offset), Py_tp_descr_get);
    Py_RETURN_NONE;
}

static PyObject *is_main_interpreter(PyObject *module, PyObject *nothing)
{
    return PyBool_FromLong(PyInterpreterState_GetID(PyInterpreterState_Get()) == 0);
}

static int fill(PyObject *module)
{
    kr_state *state = PyModule_GetState(module);
    PyObject *nothing = PyBytes_FromStringAndSize(NULL, 0);
    state->no_view = nothing ? PyMemoryView_FromObject(nothing) : NULL;
    Py_XDECREF(nothing);
    state->offset = PyUnicode_InternFromString("offset");
    state->argv = PyUnicode_InternFromString("argv");
    state->data = PyUnicode_InternFromString("data");
    state->ack_offset = PyUnicode_InternFromString("ack_offset");
    state->of_batch = PyUnicode_InternFromString("_batch");
    state->of_index = PyUnicode_InternFromString("_index");
    if (PyErr_Occurred())
        return -1;
    int failed = kr_add_lenders(module, state) || kr_add_columns(module, state) || kr_add_batches(module, state) ||
                 kr_add_event_batches(module, state) || kr_add_grants(module, state) || kr_add_producer(module, state) ||
                 kr_add_sender(module, state) || kr_add_consumer(module, state) || kr_add_receiver(module, state) || kr_add_rdb(module, state);
    return failed ? -1 : 0;
}

#define STATE_OBJECTS (offsetof(kr_state, set_slot) / sizeof(PyObject *))

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    PyObject **objects = PyModule_GetState(module);
    for (size_t i = 0; objects && i < STATE_OBJECTS; i++)
        Py_VISIT(objects[i]);
    return 0;
}

static int module_clear(PyObject *module)
{
    PyObject **objects = PyModule_GetState(module);
    for (size_t i = 0; objects && i < STATE_OBJECTS; i++)
        Py_CLEAR(objects[i]);
    return 0;
}

static void module_free(void *module) { module_clear(module); }

static PyMethodDef functions[] = {
    {"know_events", know_events, METH_VARARGS, NULL},
    {"know_entries", kr_know_entries, METH_VARARGS, NULL},
    {"is_main_interpreter", is_main_interpreter, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};

/* Values from the headers of Python 3.12 and 3.13, which the stable ABI of 3.11 hides. */
#define MULTIPLE_INTERPRETERS 3
#define WITH_ITS_OWN_LOCK ((void *)(intptr_t)2)
#define GIL 4
#define GIL_NOT_USED ((void *)(intptr_t)1)

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)fill}, {0, NULL}, {0, NULL}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_calls", NULL, sizeof(kr_state), functions, slots, module_traverse, module_clear, module_free};

/* An interpreter refuses a module with an unknown slot. So the slots are chosen here, by the version of the interpreter. */
PyMODINIT_FUNC PyInit__calls(void)
{
    if (Py_Version >= 0x030C0000)
        slots[1] = (PyModuleDef_Slot){MULTIPLE_INTERPRETERS, WITH_ITS_OWN_LOCK};
    if (Py_Version >= 0x030D0000)
        slots[2] = (PyModuleDef_Slot){GIL, GIL_NOT_USED};
    return PyModuleDef_Init(&definition);
}
