#!/bin/sh
# The tests of the ring from Python under valgrind's memcheck. Run by `make memcheck-python`; PYTHON: an interpreter with
# kevy_ring and pytest; PYTHON_TESTS: files of tests/.
#
# A report fails the run if the extension is anywhere in its stack. The interpreter and numpy read memory that memcheck
# takes for unwritten, so other reports are only counted. Leaks are not checked, because an interpreter leaves much
# memory at its end. PYTHONMALLOC=malloc, because memcheck does not know the interpreter's own allocator.
set -u
log=build/memcheck-python.log
mkdir -p build
here=$(pwd)
cd .. || exit 1
PYTHONMALLOC=malloc timeout -k 5 600 valgrind -q --num-callers=40 --child-silent-after-fork=yes --log-file="$here/$log" \
    "$PYTHON" -m pytest -q --timeout=0 -p no:cacheprovider $PYTHON_TESTS || exit 1
cd "$here" || exit 1
awk '
    function over() {
        if (report == "") return
        if (report ~ /_core\.|[^a-z]kr_|_calls\.|\((producer|consumer|receiver|segment|send|sender|overflow|scan|columns|resume|stamps|plain_run|role|peer|doorbell)[a-z_]*\.c:|\((arguments|batch|event_batch|events|grant|loans|module|pieces|release|take|write_pieces)\.c:/) { ours++; print report }
        else others++
        report = ""
    }
    { line = $0; sub(/^==[0-9]+== ?/, "", line) }
    line == "" { over(); next }
    { report = report line "\n" }
    END { over(); printf "memcheck: %d reports of the extension, %d of the interpreter alone\n", ours, others; exit ours > 0 }
' "$log"
