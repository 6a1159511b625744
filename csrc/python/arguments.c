/* Arguments of methods: numbers and seconds, by their place or by name. */
#include "python/calls.h"

#define NANO 1000000000.0

/* Up to two optional arguments, by their place or by the names in `known`, into `found`. 0, or -1 with an exception. */
int kr_two_arguments(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *const *known, PyObject **found)
{
    Py_ssize_t named = names ? PyTuple_Size(names) : 0, most = known[1] ? 2 : 1;
    if (count + named > most) {
        PyErr_Format(PyExc_TypeError, "at most %s taken, %zd were given", most > 1 ? "two arguments are" : "one argument is", count + named);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        found[i] = arguments[i];
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        Py_ssize_t place = 0;
        while (place < most && PyUnicode_CompareWithASCIIString(name, known[place]))
            place++;
        if (place == most || place < count) {
            PyErr_Format(PyExc_TypeError, place == most ? "unexpected keyword argument %R" : "argument %R is given twice", name);
            return -1;
        }
        found[place] = arguments[count + i];
    }
    return 0;
}

int kr_only_argument(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, PyObject **found)
{
    const char *known[] = {name, NULL};
    if (!count && !names)
        return 0;
    return kr_two_arguments(arguments, count, names, known, found);
}

/* A length in bytes. TypeError: no integer, or none at all (NULL). OverflowError: it does not fit into 64 bits. */
int kr_length_of(PyObject *number, uint64_t *length)
{
    if (!number) {
        PyErr_SetString(PyExc_TypeError, "a length in bytes is missing");
        return -1;
    }
    PyObject *index = PyNumber_Index(number);
    *length = index ? PyLong_AsUnsignedLongLong(index) : UINT64_MAX;
    Py_XDECREF(index);
    return *length == UINT64_MAX && PyErr_Occurred() ? -1 : 0;
}

/* How many records, events or bytes at most: what is beyond 64 bits is no limit. ValueError: less than one. */
int kr_limit_of(PyObject *number, uint64_t *limit)
{
    PyObject *index = PyNumber_Index(number);
    int overflow = 0;
    long long value = index ? PyLong_AsLongLongAndOverflow(index, &overflow) : -1;
    Py_XDECREF(index);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (overflow < 0 || (!overflow && value < 1)) {
        PyErr_SetString(PyExc_ValueError, "a drain takes at least one record and one byte");
        return -1;
    }
    *limit = overflow ? UINT64_MAX : (uint64_t)value;
    return 0;
}

/* The one argument `timeout`, in seconds: nanoseconds, or -1 for a wait without end. 0, or -1 with an exception. */
int kr_timeout_of(PyObject *const *arguments, Py_ssize_t count, PyObject *names, int64_t *timeout_ns)
{
    PyObject *seconds = Py_None;
    if (kr_only_argument(arguments, count, names, "timeout", &seconds) < 0)
        return -1;
    *timeout_ns = -1;
    if (seconds == Py_None)
        return 0;
    double value = PyFloat_AsDouble(seconds);
    if (value == -1.0 && PyErr_Occurred())
        return -1;
    if (value != value) {
        PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds, or None to wait without end: nan");
        return -1;
    }
    *timeout_ns = value <= 0 ? 0 : value > 9e9 ? -1 : (int64_t)(value * NANO);
    return 0;
}
