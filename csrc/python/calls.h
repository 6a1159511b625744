/* What the files of this folder share: the objects whose methods they are, the state of the module, and how arguments are
 * taken apart and errors are raised.
 *
 * A call through cffi costs twice what a record does, so each call that an application makes for every record is a method
 * written here. The methods keep the interpreter's lock where they do not wait: a thread that holds a lock of the core
 * never waits for the interpreter. Errors come from `_fault(code)` of the object, which makes the exception for a result of
 * the core. */
#ifndef KR_CALLS_H
#define KR_CALLS_H

#define PY_SSIZE_T_CLEAN
#include <pyconfig.h>
#ifndef Py_GIL_DISABLED /* free-threaded Pythons have no stable ABI */
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>
#include <structmember.h>

#include "ring/ring.h"

#define LARGE_BYTES (1u << 20) /* as much as this is copied without the interpreter's lock */
#define ON_STACK 64            /* so many pieces and events need no memory from the heap */

/* Without the interpreter's lock, one thread at a time is in the methods of an object. */
#ifdef Py_GIL_DISABLED
#define BEGIN_ALONE(self) Py_BEGIN_CRITICAL_SECTION(self);
#define END_ALONE() Py_END_CRITICAL_SECTION();
#define BEGIN_ALONE_WITH(self, other) Py_BEGIN_CRITICAL_SECTION2(self, other);
#define END_ALONE_WITH() Py_END_CRITICAL_SECTION2();
#else
#define BEGIN_ALONE(self) {
#define END_ALONE() }
#define BEGIN_ALONE_WITH(self, other) {
#define END_ALONE_WITH() }
#endif

/* Each defines `name`, the method that the interpreter calls, from `name_alone`. */
#define ALONE(name)                                                                                                           \
    static PyObject *name(PyObject *self, PyObject *argument)                                                                 \
    {                                                                                                                         \
        PyObject *answer;                                                                                                     \
        BEGIN_ALONE(self)                                                                                                     \
        answer = name##_alone(self, argument);                                                                                \
        END_ALONE()                                                                                                           \
        return answer;                                                                                                        \
    }
#define ALONE_FAST(name)                                                                                                      \
    static PyObject *name(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)                      \
    {                                                                                                                         \
        PyObject *answer;                                                                                                     \
        BEGIN_ALONE(self)                                                                                                     \
        answer = name##_alone(self, arguments, count, names);                                                                 \
        END_ALONE()                                                                                                           \
        return answer;                                                                                                        \
    }

#define FAST(function) ((PyCFunction)(void (*)(void))(function)), METH_FASTCALL | METH_KEYWORDS
#define CAN_BE_BASE (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE)

/* The state of the module in one interpreter. All of it are objects: module.c visits them as an array. */
typedef struct {
    PyObject *lender, *loan, *columns, *batch, *event_batch, *grant, *chunk_grant, *producer, *sender, *consumer, *receiver;
    PyObject *frame, *chunk, *snapshot_begin, *snapshot_end, *batch_frame, *batch_chunk; /* know_events() tells them */
    PyObject *offset, *argv, *data, *ack_offset, *of_batch, *of_index;                   /* names of attributes */
    PyObject *no_view;                                                                   /* of no bytes */
} kr_state;

/* How each object of this module begins. */
typedef struct {
    PyObject_HEAD
    kr_state *state;
} kr_object;

/* A mapped area as it is lent out. Each loan is an object of its own, and each view of it keeps that object: so the number
 * of loans that are alive tells whether a view escaped. */
typedef struct {
    PyObject_HEAD
    kr_state *state;
    PyObject *area; /* owns the mapping, which lives as long as a view of it */
    char *at;
    unsigned long long bytes;
    unsigned long long index, length; /* of the last loan */
    unsigned long long turn;          /* raised by kr_disown(): earlier loans are strays */
    unsigned long long alive, strays; /* loans of this turn, and of earlier turns, of which a view is alive */
} Lender;

/* A writer of records: a producer of a ring, or a sender of an inbox. */
typedef struct {
    PyObject_HEAD
    kr_state *state;
    PyObject *handle;      /* the cdata that owns `producer`. NULL: the role is not taken, or the handle is closed */
    kr_producer *producer;
    kr_sender *sender;     /* that `producer` is a part of; NULL: a producer of a ring */
    Lender *lender;        /* of the area; NULL with the handle */
} Writer;

/* The index of a batch. The memory stays from drain to drain, until somebody has a view of it. */
typedef struct {
    PyObject_HEAD
    kr_state *state;
    char *memory;
    unsigned long long room, asked; /* entries of each array, and how many the caller wanted */
    char exposed;                   /* views of the memory were handed out: the next batch gets other memory */
} Columns;

typedef struct {
    PyObject_HEAD
    kr_state *state;
    PyObject *handle; /* as of a writer */
    kr_consumer *consumer;
    char *block; /* the columns, of KEPT_RECORDS, for calls that make no batch */
    long long spin_ns;
    unsigned long long capacity;
    char careful; /* a part of an event larger than the ring was taken, or a loss is untold: ask Python before each drain */
    char strays;  /* an abandoned batch left views behind: they are cut off before the next drain */
    Lender *lender; /* of the area that `consumer` maps; NULL with the handle */
    Columns *columns, *spare; /* of the last drain, and of the one before of another number of records */
    PyObject *no_records;     /* the batch of all empty drains; the others are of its class */
    PyObject *open_batch;     /* borrowed: when the last reference to a batch goes, the batch ends and clears this field */
    unsigned long long snapshots_released; /* SnapshotEnds in everything that was given back */
    kr_batch out;                          /* the batch that is open, or was last */
} Consumer;

typedef struct {
    PyObject_HEAD
    kr_state *state;
    Consumer *consumer; /* NULL: a batch of no records */
    Columns *columns;
    Lender *lender;   /* the consumer's, once a view was made */
    PyObject *root;   /* all views come from it: there are none while it is NULL */
    PyObject *whole;  /* the record of an event that was put together from fragments; it does not lie in the ring */
    PyObject *ahead, *left_at; /* of an iteration, for Python */
    PyObject *decoded;         /* views of the arguments of the events `low` to `high - 1` */
    Py_ssize_t *bounds;        /* the number, in `decoded`, of the first argument of each of them */
    Py_ssize_t low, high, count, released;
    char held, more;
    char lent; /* views were made since the last time that there were none */
} Batch;

/* errors.c. Each raises, and returns NULL; those of a number return -1. */
PyObject *kr_raise(const char *class, PyObject *arguments, PyObject *named);
PyObject *kr_raise_closed(PyObject *owner, const char *reason);
PyObject *kr_raise_escaped(PyObject *owner, uint64_t held, const char *of);
PyObject *kr_raise_corrupt(PyObject *owner, uint64_t position, const char *field);
PyObject *kr_fault(PyObject *owner, int64_t code);
int kr_done(PyObject *answer);

/* arguments.c */
int kr_only_argument(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, PyObject **found);
int kr_two_arguments(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *const *known, PyObject **found);
int kr_length_of(PyObject *number, uint64_t *length);
int kr_limit_of(PyObject *number, uint64_t *limit);
int kr_timeout_of(PyObject *const *arguments, Py_ssize_t count, PyObject *names, int64_t *timeout_ns);

/* pieces.c: the bytes of objects, without a copy. */
struct kr_pieces {
    kr_piece few[ON_STACK], *pieces;
    uint64_t count, room, total;
    int is_held; /* each object is held by a buffer of its own, so that Python code may run meanwhile */
    Py_buffer *buffers;
    uint64_t held, held_room;
};
void kr_pieces_hold(struct kr_pieces *pieces);
int kr_pieces_add(struct kr_pieces *pieces, PyObject *object);
int kr_pieces_add_all(struct kr_pieces *pieces, PyObject *sequence);
void kr_pieces_free(struct kr_pieces *pieces);
static inline void kr_pieces_begin(struct kr_pieces *pieces)
{
    pieces->pieces = pieces->few;
    pieces->count = pieces->total = pieces->held = 0;
    pieces->room = ON_STACK;
    pieces->is_held = 0;
}

/* Lets go of everything. An exception that is set stays. */
static inline void kr_pieces_end(struct kr_pieces *pieces)
{
    if (pieces->is_held || pieces->pieces != pieces->few)
        kr_pieces_free(pieces);
}
#define PIECES_AGAIN 1 /* an answer of kr_pieces_add(): hold the objects, and begin again */

/* loans.c */
PyObject *kr_lend(Lender *lender, uint64_t index, uint64_t length, int writable);
int kr_escaped(Lender *lender);
void kr_disown(Lender *lender);
int kr_add_lenders(PyObject *module, kr_state *state);

/* grant.c */
PyObject *kr_grant_new(Writer *owner, PyObject *type, int64_t index, uint64_t length);
int kr_add_grants(PyObject *module, kr_state *state);

/* producer.c */
int kr_writer_claim(Writer *writer);
static inline int kr_writer_ready(Writer *writer) { return writer->producer ? 0 : kr_writer_claim(writer); }
PyObject *kr_writer_bind(PyObject *self, PyObject *arguments);
void kr_writer_dealloc(PyObject *self);
int kr_add_producer(PyObject *module, kr_state *state);

/* sender.c */
int kr_add_sender(PyObject *module, kr_state *state);

/* columns.c */
Columns *kr_columns_new(kr_state *state, uint64_t room, uint64_t asked);
int kr_add_columns(PyObject *module, kr_state *state);

/* consumer.c */
int kr_consumer_claim(Consumer *consumer);
static inline int kr_consumer_ready(Consumer *consumer)
{
    return consumer->consumer && !consumer->strays ? 0 : kr_consumer_claim(consumer);
}
PyObject *kr_drain(Consumer *consumer, uint64_t records, uint64_t bytes);
PyObject *kr_drain_method(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *records);
int kr_add_consumer(PyObject *module, kr_state *state);

/* take.c */
#define KEPT_RECORDS 1024u
int64_t kr_drain_apart(Consumer *consumer, uint64_t records, char *block, kr_batch *batch);
PyObject *kr_given(Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t taken, PyObject *result);
int kr_is_at_end(Consumer *consumer);
typedef PyObject *(*kr_take)(Consumer *consumer); /* NULL without an exception: there is nothing now */
PyObject *kr_take_now(Consumer *consumer, kr_take take);
PyObject *kr_take_within(Consumer *consumer, kr_take take, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
int kr_how_many(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, uint64_t *most);

/* events.c */
PyObject *kr_event(kr_state *state, const char *records, const struct kr_columns *columns, uint64_t i);
PyObject *kr_event_in(Batch *batch, const struct kr_columns *columns, Py_ssize_t i);

/* receiver.c */
int kr_add_receiver(PyObject *module, kr_state *state);

/* batch.c: batches of records, and how a batch ends */
struct kr_columns kr_columns_of(const Batch *batch);
const char *kr_records_of(const Batch *batch);
PyObject *kr_root(Batch *batch);
PyObject *kr_payload(Batch *batch, Py_ssize_t i);
Py_ssize_t kr_index_of(const Batch *batch, PyObject *number, int from_end);
int kr_add_batches(PyObject *module, kr_state *state);

/* release.c: how a batch ends */
int kr_release_first(Batch *batch, Py_ssize_t upto);
void kr_abandon(Batch *batch);
uint64_t kr_snapshots_ended(const Batch *batch, Py_ssize_t first, Py_ssize_t last);
PyObject *kr_batch_release(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *kr_batch_end_at(PyObject *self, PyObject *number);
PyObject *kr_batch_abandon(PyObject *self, PyObject *nothing);
PyObject *kr_batch_pass(PyObject *self, PyObject *nothing);
PyObject *kr_batch_enter(PyObject *self, PyObject *nothing);
PyObject *kr_batch_exit(PyObject *self, PyObject *arguments);

/* event_batch.c */
void kr_forget_arguments(Batch *batch);
int kr_add_event_batches(PyObject *module, kr_state *state);

/* module.c */
PyObject *kr_new(PyTypeObject *type, PyObject *arguments, PyObject *names);
PyObject *kr_alloc(kr_state *state, PyObject *type);
int kr_add_type(PyObject *module, PyType_Spec *spec, PyObject *base, PyObject **made);
void kr_free(PyObject *self);

#endif
