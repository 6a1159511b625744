/* What the files of this folder share: the objects whose methods they are, and how they take arguments apart. */
#ifndef KR_CALLS_H
#define KR_CALLS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <structmember.h>

#include "ring/ring.h"

#define LARGE_BYTES (1u << 20) /* as much as this is copied without the interpreter's lock, the long way */

typedef struct {
    PyObject_HEAD
    PyObject *handle; /* the cdata that owns `producer`, or the sender that it is a part of */
    kr_producer *producer;
    kr_sender *sender; /* NULL: a producer of a ring */
    PyObject *lender;
} ProducerCalls;

typedef struct {
    PyObject_HEAD
    PyObject *handle;
    kr_consumer *consumer;
    char *columns; /* of KEPT_RECORDS */
    long long spin_ns;
    int careful; /* each record goes the long way: part of an event larger than the ring was taken, or a loss is untold */
    int strays;  /* an abandoned batch left views behind: they are cut off before the next drain */
    PyObject *area; /* what `consumer` maps; it lives as long as it is kept here, or a view of it is alive */
    PyObject *lender;
    PyObject *batch_columns;
    PyObject *no_records; /* the batch of all empty drains; the others are of its class */
    PyObject *open_batch; /* borrowed: when the last reference to a batch goes, the batch ends and clears this field */
    unsigned long long snapshots_released; /* SnapshotEnds in all that was given back */
    kr_batch out;                          /* the batch that is open, or was last */
} ConsumerCalls;

/* calls.c */
PyObject *kr_leave_to(PyObject *self, const char *method, PyObject *argument);
int kr_only_argument(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, PyObject **found);
int kr_add_type(PyObject *module, const char *name, PyType_Spec *spec, PyObject *base, PyObject **made);

/* loans.c */
int kr_is_lender(PyObject *object);
PyObject *kr_lend(PyObject *lender, uint64_t index, uint64_t length);
int kr_escaped(PyObject *lender);
void kr_last_loan(PyObject *lender, unsigned long long *index, unsigned long long *length);
PyObject *kr_try_reserve(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *kr_reserve_chunk(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *kr_reserve(PyObject *self, PyObject *number);
PyObject *kr_publish(PyObject *self, PyObject *nothing);
int kr_add_loans(PyObject *module);

/* batches.c */
PyObject *kr_drain(PyObject *self, PyObject *arguments, PyObject *names);
PyObject *kr_take_batch(PyObject *self, PyObject *arguments);
PyObject *kr_open_batch(PyObject *self, void *nothing);
PyObject *kr_cut_off_strays(PyObject *self, PyObject *arguments);
int kr_add_batches(PyObject *module, PyObject *consumer_calls);

#endif
