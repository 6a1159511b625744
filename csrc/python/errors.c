/* How the methods of this module raise the exceptions of kevy_ring.errors. */
#include "python/calls.h"

/* Raises `class` of kevy_ring.errors, made of these arguments. Takes both of them; `named` may be NULL. */
PyObject *kr_raise(const char *class, PyObject *arguments, PyObject *named)
{
    PyObject *module = arguments ? PyImport_ImportModule("kevy_ring.errors") : NULL;
    PyObject *type = module ? PyObject_GetAttrString(module, class) : NULL;
    PyObject *error = type ? PyObject_Call(type, arguments, named) : NULL;
    if (error)
        PyErr_SetObject(type, error);
    Py_XDECREF(error);
    Py_XDECREF(type);
    Py_XDECREF(module);
    Py_XDECREF(arguments);
    Py_XDECREF(named);
    return NULL;
}

PyObject *kr_raise_closed(PyObject *owner, const char *reason)
{
    PyObject *name = PyObject_GetAttrString(owner, "name");
    return name ? kr_raise("ClosedError", Py_BuildValue("(Ns)", name, reason), NULL) : NULL;
}

/* `of`: "batch" or "grant". */
PyObject *kr_raise_escaped(PyObject *owner, uint64_t held, const char *of)
{
    PyObject *name = PyObject_GetAttrString(owner, "name");
    if (!name)
        return NULL;
    return kr_raise("ViewsEscaped", Py_BuildValue("(N)", name), Py_BuildValue("{s:K,s:s}", "held", held, "of", of));
}

PyObject *kr_raise_corrupt(PyObject *owner, uint64_t position, const char *field)
{
    PyObject *name = PyObject_GetAttrString(owner, "name");
    if (!name)
        return NULL;
    return kr_raise("CorruptRing", Py_BuildValue("(N)", name), Py_BuildValue("{s:K,s:s}", "position", position, "field", field));
}

/* Raises what `owner._fault(code)` makes of a result of the core. */
PyObject *kr_fault(PyObject *owner, int64_t code)
{
    PyObject *error = PyObject_CallMethod(owner, "_fault", "L", (long long)code);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

/* 0 for the answer of a call whose value does not matter, which is dropped; -1 for NULL. */
int kr_done(PyObject *answer)
{
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}
