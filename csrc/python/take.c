/* Records and events that are given out as objects of their own: no batch is left open. */
#include "python/calls.h"

/* A drain into `block`, which has room for so many records, of a consumer that is ready. kr_given() ends it. */
int64_t kr_drain_apart(Consumer *consumer, uint64_t records, char *block, kr_batch *batch)
{
    int64_t count = kr_consumer_drain(consumer->consumer, records, UINT64_MAX, block, batch);
    if (count < 0)
        kr_fault((PyObject *)consumer, count);
    return count < 0 ? -1 : count;
}

/* Gives the first `taken` of a drain back; what lies behind is drained again. 0, or -1 with an exception. */
static int give_back(Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t taken)
{
    uint64_t end = batch->position;
    if (taken == batch->count)
        end += batch->span;
    else if (taken)
        end += (columns->starts[taken - 1] + columns->lengths[taken - 1] + 7) & ~7ull;
    int code = kr_consumer_release(consumer->consumer, end, taken, 1);
    if (code < 0)
        kr_fault((PyObject *)consumer, code);
    return code < 0 ? -1 : 0;
}

/* A result, after the space of what it holds was given back; NULL when either failed. */
PyObject *kr_given(Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t taken, PyObject *result)
{
    if (!result) { /* nothing is lost: all of it is drained again */
        kr_consumer_release(consumer->consumer, batch->position, 0, 1);
        return NULL;
    }
    if (give_back(consumer, batch, columns, taken) < 0)
        Py_CLEAR(result);
    return result;
}

/* 0: the producer lives, or has left something. -1 with an exception: it is gone, and all that it published was taken. */
int kr_is_at_end(Consumer *consumer)
{
    kr_role_info info;
    int code = kr_consumer_peer(consumer->consumer, &info);
    if (code < 0)
        kr_fault((PyObject *)consumer, code);
    return code < 0 ? -1 : 0;
}

/* How many at most: KEPT_RECORDS, or the argument. 0, or -1 with an exception when that is no positive number. */
int kr_how_many(PyObject *const *arguments, Py_ssize_t count, PyObject *names, const char *name, uint64_t *most)
{
    PyObject *number = NULL;
    *most = KEPT_RECORDS;
    if (kr_only_argument(arguments, count, names, name, &number) < 0)
        return -1;
    return number ? kr_limit_of(number, most) : 0;
}

/* ---------------------------------------------------------------------------------------------------------- waits */

/* One, or None. NULL with an exception: also at the end. */
PyObject *kr_take_now(Consumer *consumer, kr_take take)
{
    PyObject *found = take(consumer);
    if (found || PyErr_Occurred() || kr_is_at_end(consumer) < 0)
        return found;
    Py_RETURN_NONE;
}

/* Sleeps, without the interpreter's lock, until there may be something to take. 1: look; 0: time is up; -1: a signal's
 * handler raised. The handle is kept meanwhile: another thread may close it. */
static int sleep_on(Consumer *consumer, int64_t left_ns)
{
    PyObject *handle = consumer->handle;
    kr_consumer *on = consumer->consumer;
    int64_t spin_ns = consumer->spin_ns;
    int code;
    Py_INCREF(handle);
    Py_BEGIN_ALLOW_THREADS
    code = kr_consumer_wait(on, left_ns, spin_ns);
    Py_END_ALLOW_THREADS
    Py_DECREF(handle);
    if (code == KR_WAIT_INTERRUPTED && PyErr_CheckSignals() < 0)
        return -1;
    return code != KR_WAIT_TIMEOUT;
}

/* Waits for one, for as long as the argument `timeout` says. */
PyObject *kr_take_within(Consumer *consumer, kr_take take, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    int64_t timeout_ns;
    if (kr_timeout_of(arguments, count, names, &timeout_ns) < 0)
        return NULL;
    uint64_t deadline = timeout_ns > 0 ? kr_now_ns() + (uint64_t)timeout_ns : 0;
    for (;;) {
        PyObject *found = kr_take_now(consumer, take);
        if (found != Py_None)
            return found;
        uint64_t now = timeout_ns > 0 ? kr_now_ns() : 0;
        int64_t left = timeout_ns < 0 ? -1 : now < deadline ? (int64_t)(deadline - now) : 0;
        if (left == 0)
            return found;
        Py_DECREF(found);
        if (sleep_on(consumer, left) < 0)
            return NULL;
    }
}
