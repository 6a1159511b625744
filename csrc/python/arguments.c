/* Arguments of methods: numbers, seconds and sequences, given by position or by keyword. */
#include "python/calls.h"

#define NANO 1000000000.0

/* Stores up to two optional arguments in `found`. They are given by position, or by one of the keywords in `known`. 0, or -1
 * with an exception. */
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

/* Reads a length in bytes. Raises TypeError if it is missing (NULL) or not an integer, and OverflowError if it does not fit into
 * 64 bits. */
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

/* The same for a caller that refuses large lengths by itself: a length that does not fit into 64 bits becomes UINT64_MAX. */
int kr_clamped_length_of(PyObject *number, uint64_t *length)
{
    if (kr_length_of(number, length) == 0)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_OverflowError))
        return -1;
    PyErr_Clear();
    *length = UINT64_MAX;
    return 0;
}

/* Reads a maximum number of records, events or bytes. A number above 64 bits means no limit. Raises ValueError below 1. */
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

/* How many at most: the argument, by default KEPT_RECORDS. 0, or -1 with an exception. */
int kr_how_many(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, uint64_t *most)
{
    PyObject *number = NULL;
    *most = KEPT_RECORDS;
    if (kr_only_argument(arguments, count, names, name, &number) < 0)
        return -1;
    return number ? kr_limit_of(number, most) : 0;
}

/* Raises TypeError unless `object` is a sequence. One bytes-like object or text is refused too: it is a sequence, but hardly what
 * the caller meant. `format` takes the name of the type. */
int kr_check_sequence(PyObject *object, const char *format)
{
    int is_one = PyBytes_Check(object) || PyByteArray_Check(object) || PyMemoryView_Check(object) || PyUnicode_Check(object);
    if (PyList_CheckExact(object) || PyTuple_CheckExact(object) || (!is_one && PyObject_HasAttrString(object, "__len__")))
        return 0;
    PyObject *name = PyType_GetName(Py_TYPE(object));
    if (name)
        PyErr_Format(PyExc_TypeError, format, name);
    Py_XDECREF(name);
    return -1;
}

/* Reads the only argument, `timeout` in seconds, as nanoseconds. -1 means no limit. 0, or -1 with an exception. */
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
