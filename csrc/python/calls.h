/* What the files of this folder share: the objects whose methods they are, and how they take arguments apart. */
#ifndef KR_CALLS_H
#define KR_CALLS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <structmember.h>

#include "ring.h"

#define LARGE_BYTES (1u << 20) /* as much as this is copied without the interpreter's lock, the long way */

typedef struct {
    PyObject_HEAD
    PyObject *handle; /* the cdata that owns `producer` */
    kr_producer *producer;
    PyObject *lender;
} ProducerCalls;

typedef struct {
    PyObject_HEAD
    PyObject *handle;
    kr_consumer *consumer;
    char *columns; /* of KEPT_RECORDS */
    long long spin_ns;
    int careful; /* part of an event larger than the ring was taken: each record goes the long way */
    PyObject *lender;
    PyObject *batch_columns;
    PyObject *no_records; /* the batch of all empty drains; the others are of its class */
    kr_batch out;         /* the batch that is open, or was last */
} ConsumerCalls;

/* calls.c */
PyObject *kr_leave_to(PyObject *self, const char *method, PyObject *argument);
int kr_only_argument(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, PyObject **found);
int kr_add_type(PyObject *module, const char *name, PyType_Spec *spec, PyObject *base, PyObject **made);

/* loans.c */
int kr_is_lender(PyObject *object);
PyObject *kr_lend(PyObject *lender, uint64_t index, uint64_t length);
int kr_escaped(PyObject *lender);
PyObject *kr_try_reserve(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *kr_reserve_chunk(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *kr_publish(PyObject *self, PyObject *nothing);
int kr_add_loans(PyObject *module);

/* batches.c */
PyObject *kr_drain(PyObject *self, PyObject *arguments, PyObject *names);
int kr_add_batches(PyObject *module, PyObject *consumer_calls);

#endif
