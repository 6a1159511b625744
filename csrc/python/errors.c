/* Functions that raise the exceptions of kevy_ring.errors. */
#include "python/calls.h"

/* Raises an exception object, and steals the reference to it. NULL: an exception is set already. */
PyObject *kr_raise_object(PyObject *error)
{
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

/* Raises the exception `class` of kevy_ring.errors for the ring of `owner`, with the arguments in `named`. Steals `named`. */
static PyObject *raise_for(PyObject *owner, const char *class, PyObject *named)
{
    PyObject *name = PyObject_GetAttrString(owner, "name"), *arguments = name ? Py_BuildValue("(N)", name) : NULL;
    PyObject *module = arguments && named ? PyImport_ImportModule("kevy_ring.errors") : NULL;
    PyObject *type = module ? PyObject_GetAttrString(module, class) : NULL;
    kr_raise_object(type ? PyObject_Call(type, arguments, named) : NULL);
    Py_XDECREF(type);
    Py_XDECREF(module);
    Py_XDECREF(arguments);
    Py_XDECREF(named);
    return NULL;
}

PyObject *kr_raise_closed(PyObject *owner, const char *reason)
{
    return raise_for(owner, "ClosedError", Py_BuildValue("{s:s}", "reason", reason));
}

/* `of`: "batch" or "grant". */
PyObject *kr_raise_escaped(PyObject *owner, uint64_t held, const char *of)
{
    return raise_for(owner, "ViewsEscaped", Py_BuildValue("{s:K,s:s}", "held", held, "of", of));
}

PyObject *kr_raise_corrupt(PyObject *owner, uint64_t position, const char *field)
{
    return raise_for(owner, "CorruptRing", Py_BuildValue("{s:K,s:s}", "position", position, "field", field));
}

/* Raises the exception that `owner._fault(code)` makes for an error code of the core. */
PyObject *kr_fault(PyObject *owner, int64_t code)
{
    return kr_raise_object(PyObject_CallMethod(owner, "_fault", "L", (long long)code));
}

/* Drops the result of a call of which only the success matters. 0, or -1 for NULL. */
int kr_done(PyObject *answer)
{
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}
