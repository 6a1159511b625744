/* Calls that return records and events as objects that own their bytes: no batch stays open. */
#include "python/calls.h"

/* Drains up to `records` records into `block`, which has room for them. The consumer is ready. kr_given() ends the drain. */
int64_t kr_drain_apart(Consumer *consumer, uint64_t records, char *block, kr_batch *batch)
{
    int64_t count = kr_consumer_drain(consumer->consumer, records, UINT64_MAX, block, batch);
    if (count < 0)
        kr_fault((PyObject *)consumer, count);
    return count < 0 ? -1 : count;
}

/* Ends a drain whose first `taken` records are copied in `result`: releases them and returns `result`. The others are drained again.
 * NULL with an exception if `result` is NULL, which releases nothing, or if the release fails. */
PyObject *kr_given(Consumer *consumer, const kr_batch *batch, const struct kr_columns *columns, uint64_t taken, PyObject *result)
{
    uint64_t end = batch->position;
    if (!result)
        taken = 0;
    if (taken == batch->count)
        end += batch->span;
    else if (taken)
        end += kr_end_of_records(columns, taken);
    int code = kr_consumer_release(consumer->consumer, end, taken, 1);
    if (code >= 0 || !result)
        return result;
    Py_DECREF(result);
    return kr_fault((PyObject *)consumer, code);
}

/* 0: the producer lives, or there is a record left. -1 with an exception: the producer is gone and all its records were taken. */
int kr_is_at_end(Consumer *consumer)
{
    kr_role_info info;
    int code = kr_consumer_peer(consumer->consumer, &info);
    if (code < 0)
        kr_fault((PyObject *)consumer, code);
    return code < 0 ? -1 : 0;
}

/* ---------------------------------------------------------------------------------------------------------- waits */

/* The next one, or None. NULL with an exception, which is RecvError at the end. */
PyObject *kr_take_now(Consumer *consumer, kr_take take)
{
    PyObject *found = take(consumer);
    if (found || PyErr_Occurred() || kr_is_at_end(consumer) < 0)
        return found;
    Py_RETURN_NONE;
}

/* Sleeps, without the interpreter's lock, until there may be something to take: 1. 0: the time is up. -1: a signal handler raised.
 * Another thread may close the handle meanwhile, so this keeps a reference to it. */
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

/* Waits for the next one, up to the argument `timeout`. */
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
