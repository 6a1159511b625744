/* What the files of this folder share: the objects, the state of the module, and the functions that read arguments and raise
 * errors.
 *
 * A call through cffi costs twice as much as a record. So each call that an application makes for every record is a C method
 * here. A method that does not wait keeps the interpreter's lock: a thread that holds a lock of the core never waits for the
 * interpreter. When the core returns an error code, the method calls `_fault(code)` of its object, which makes the exception. */
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

#define LARGE_BYTES (1u << 20) /* from this size on, a copy runs without the interpreter's lock */
#define KEPT_RECORDS 1024u     /* the default maximum of a drain */
#define RECORD_COLUMN_BYTES 25u
#define ON_STACK 64            /* up to this many pieces or events are kept on the stack */

/* On a free-threaded Python these let one thread at a time into the methods of an object. */
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

/* Defines the method `name`: it runs `name_alone` while no other thread is in a method of the object. */
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

/* Ends a stretch that began with PyGC_Disable(). In between no garbage is collected. A collection runs finalizers, which may be any
 * code: one could close the handle, or release the batch, that the caller is working on. */
static inline void kr_resume_gc(int was_enabled)
{
    if (was_enabled)
        PyGC_Enable();
}

/* The position, from the first record of a batch, behind the first `count` records; `count` is at least 1. */
static inline uint64_t kr_end_of_records(const struct kr_columns *columns, uint64_t count)
{
    return (columns->starts[count - 1] + columns->lengths[count - 1] + 7) & ~7ull;
}

/* The slots of the class Entry, in the order in which rdb.c sets them, and the types that the value of a key can have. */
#define ENTRY_SLOTS 6
#define KR_RDB_KINDS 6

/* The state of the module in one interpreter. The objects come first: module.c visits them as an array. */
typedef struct {
    PyObject *lender, *loan, *columns, *batch, *event_batch, *grant, *chunk_grant, *producer, *sender, *consumer, *receiver;
    PyObject *frame, *chunk, *snapshot_begin, *snapshot_end, *batch_frame, *batch_chunk; /* set by know_events() */
    PyObject *frame_offset, *frame_argv;                                                 /* the slots of Frame, as descriptors */
    PyObject *offset, *argv, *data, *ack_offset, *of_batch, *of_index;                   /* attribute names */
    PyObject *rdb_reader, *entry, *stream, *stream_group;                                /* set by know_entries() */
    PyObject *entry_slots[ENTRY_SLOTS], *kinds[KR_RDB_KINDS];                            /* of an Entry; names of types */
    PyObject *no_view;                                                                   /* a memoryview of 0 bytes */
    descrsetfunc set_slot; /* sets a slot of an Entry, as get_slot */
    descrgetfunc get_slot; /* reads a slot of a Frame itself, not of a derived class, without a search for its name */
} kr_state;

/* Every object of this module begins with these fields. */
typedef struct {
    PyObject_HEAD
    kr_state *state;
} kr_object;

/* A mapped area that lends memoryviews. Each loan is one object, and each view of the loan keeps that object alive. So the number
 * of live loans shows whether the application still has a view. */
typedef struct {
    PyObject_HEAD
    kr_state *state;
    PyObject *area; /* owns the mapping, and lives as long as any view */
    char *at;
    unsigned long long bytes;
    unsigned long long index, length; /* of the last loan */
    unsigned long long turn;          /* kr_disown() increases it: earlier loans are strays */
    unsigned long long alive, strays; /* live loans of this turn, and of earlier turns */
} Lender;

/* A writer of records: a producer of a ring, or a sender of an inbox. */
typedef struct {
    PyObject_HEAD
    kr_state *state;
    PyObject *handle;      /* the cdata that owns `producer`; NULL before the role is taken and after close */
    kr_producer *producer;
    kr_sender *sender;     /* the sender that `producer` is a part of; NULL for a producer of a ring */
    Lender *lender;        /* of the area; NULL when the handle is NULL */
} Writer;

/* The columns of a batch. The next drain uses the same memory again, unless the application got a view of it. */
typedef struct {
    PyObject_HEAD
    kr_state *state;
    char *memory;
    unsigned long long room, asked; /* the entries of each array, and how many the caller asked for */
    char exposed;                   /* the application got a view: the next batch uses other memory */
} Columns;

typedef struct {
    PyObject_HEAD
    kr_state *state;
    PyObject *handle; /* as in Writer */
    kr_consumer *consumer;
    char *block; /* columns for KEPT_RECORDS records, for calls that make no batch */
    long long spin_ns;
    unsigned long long capacity;
    char careful; /* a part of an event larger than the ring was taken, or a loss was not raised yet: each drain asks Python */
    char strays;  /* views outlived an abandoned batch: the next drain cuts them off first */
    Lender *lender; /* of the area that `consumer` maps; NULL when the handle is NULL */
    Columns *columns, *spare; /* of the last drain, and of the drain before that asked for another number */
    PyObject *no_records;     /* the batch of every empty drain; other batches have its class */
    PyObject *open_batch;     /* borrowed: a batch clears this field when it ends, at the latest in its dealloc */
    unsigned long long snapshots_released; /* SnapshotEnds among all released events */
    kr_batch out;                          /* the open batch, or the last one */
} Consumer;

typedef struct {
    PyObject_HEAD
    kr_state *state;
    Consumer *consumer; /* NULL: the batch of empty drains */
    Columns *columns;
    Lender *lender;   /* the consumer's; set when the first view is made */
    PyObject *root;   /* every view is a slice of it; NULL: there is no view */
    PyObject *whole;  /* the records outside the ring: an event assembled from fragments, or the copy of a frozen batch */
    unsigned long long position; /* of the first record */
    PyObject *ahead, *left_at; /* the state of an iteration, which Python code keeps */
    PyObject *decoded;         /* views of the arguments of the events `low` to `high - 1` */
    Py_ssize_t *bounds;        /* the number, in `decoded`, of the first argument of each of them */
    Py_ssize_t low, high, count, released;
    char held, more;
    char frozen; /* released, and `whole` is a copy that can still be read */
    char lent; /* there may be views */
} Batch;

/* errors.c. Each raises an exception and returns NULL; kr_done() returns a number. */
PyObject *kr_raise_object(PyObject *error);
PyObject *kr_raise_closed(PyObject *owner, const char *reason);
PyObject *kr_raise_escaped(PyObject *owner, uint64_t held, const char *of);
PyObject *kr_raise_corrupt(PyObject *owner, uint64_t position, const char *field);
PyObject *kr_fault(PyObject *owner, int64_t code);
int kr_done(PyObject *answer);

/* arguments.c */
int kr_only_argument(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, PyObject **found);
int kr_two_arguments(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *const *known, PyObject **found);
int kr_length_of(PyObject *number, uint64_t *length);
int kr_clamped_length_of(PyObject *number, uint64_t *length);
int kr_limit_of(PyObject *number, uint64_t *limit);
int kr_check_sequence(PyObject *object, const char *format);
int kr_how_many(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, uint64_t *most);
int kr_timeout_of(PyObject *const *arguments, Py_ssize_t count, PyObject *names, int64_t *timeout_ns);

/* pieces.c: the bytes of Python objects, without a copy. */
struct kr_pieces {
    kr_piece few[ON_STACK], *pieces;
    uint64_t count, room, total;
    int is_held; /* a Py_buffer holds each object, so that Python code may run meanwhile */
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
#ifdef Py_GIL_DISABLED /* another thread may change a list or drop an object at any time: there is no first pass */
    kr_pieces_hold(pieces);
#endif
}

/* Releases everything. An exception that is set stays set. */
static inline void kr_pieces_end(struct kr_pieces *pieces)
{
    if (pieces->is_held || pieces->pieces != pieces->few)
        kr_pieces_free(pieces);
}
#define PIECES_AGAIN 1 /* kr_pieces_add() returns it: call kr_pieces_hold() and add everything again */

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
int64_t kr_drain_apart(Consumer *consumer, uint64_t records, char *block, kr_batch *batch);
PyObject *kr_given(Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t taken, PyObject *result);
int kr_is_at_end(Consumer *consumer);
typedef PyObject *(*kr_take)(Consumer *consumer); /* NULL without an exception: there is nothing now */
PyObject *kr_take_now(Consumer *consumer, kr_take take);
PyObject *kr_take_within(Consumer *consumer, kr_take take, PyObject *const *arguments, Py_ssize_t count, PyObject *names);

/* events.c */
PyObject *kr_event(kr_state *state, const char *records, const struct kr_columns *columns, uint64_t i);
PyObject *kr_event_in(Batch *batch, const struct kr_columns *columns, Py_ssize_t i);

/* receiver.c */
int kr_add_receiver(PyObject *module, kr_state *state);

/* batch.c */
struct kr_columns kr_columns_of(const Batch *batch);
const char *kr_records_of(const Batch *batch);
PyObject *kr_root(Batch *batch);
PyObject *kr_payload(Batch *batch, Py_ssize_t i);
Py_ssize_t kr_index_of(const Batch *batch, PyObject *number, int from_end);
int kr_add_batches(PyObject *module, kr_state *state);

/* release.c */
int kr_release_first(Batch *batch, Py_ssize_t upto);
void kr_abandon(Batch *batch);
uint64_t kr_snapshots_ended(const Batch *batch, Py_ssize_t first, Py_ssize_t last);
PyObject *kr_batch_release(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names);
PyObject *kr_batch_end_at(PyObject *self, PyObject *number);
PyObject *kr_batch_abandon(PyObject *self, PyObject *nothing);
PyObject *kr_batch_freeze(PyObject *self, PyObject *nothing);
PyObject *kr_batch_pass(PyObject *self, PyObject *nothing);
PyObject *kr_batch_exit(PyObject *self, PyObject *arguments);

/* event_batch.c */
void kr_forget_arguments(Batch *batch);
int kr_add_event_batches(PyObject *module, kr_state *state);

/* rdb.c */
int kr_add_rdb(PyObject *module, kr_state *state);
PyObject *kr_know_entries(PyObject *module, PyObject *arguments);

/* module.c */
PyObject *kr_new(PyTypeObject *type, PyObject *arguments, PyObject *names);
PyObject *kr_alloc(kr_state *state, PyObject *type);
int kr_add_type(PyObject *module, PyType_Spec *spec, PyObject *base, PyObject **made);
void kr_free(PyObject *self);
PyObject *kr_enter(PyObject *self, PyObject *nothing);

#endif
