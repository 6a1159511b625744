"""Makes the exception for an error code of the core."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from kevy_ring._core import ffi, lib
from kevy_ring.errors import BatchOpen, ClosedError, CorruptRing, GrantOpen, RoleTaken, SegmentError

if TYPE_CHECKING:
    from kevy_ring._core import CData

_SEGMENT_REASONS = {
    lib.KR_E_MISSING: ("missing", "there is no ring of this name"),
    lib.KR_E_NOT_READY: ("timeout", "its creator has not finished making it"),
    lib.KR_E_NOT_A_RING: ("not-a-ring", "something else has this name: choose another one, or remove that file"),
    lib.KR_E_GEOMETRY: ("geometry", "its header does not describe the file"),
    lib.KR_E_OWNER: ("permission", "it belongs to another user"),
}
_FIELDS = {
    0: "header",
    1: "tail",
    2: "record length",
    3: "reserved bytes of the record header",
    4: "record kind",
    5: "record flags",
    6: "number of arguments",
    7: "end position of an argument",
}


def segment_failure(name: str, why: CData) -> Exception:
    """The exception for a ``kr_failure`` that left a segment unusable or a role untaken."""
    code, err = why.code, why.err
    if code in _SEGMENT_REASONS:
        reason, detail = _SEGMENT_REASONS[code]
        if code == lib.KR_E_OWNER:
            detail = _who_may(name)
        return SegmentError(name, reason=reason, detail=detail, errno=err)
    if code == lib.KR_E_VERSION:
        detail = f"its layout is version {why.needed}, and this kevy-ring has version {lib.KR_VERSION}"
        return SegmentError(name, reason="version", detail=detail)
    if code == lib.KR_E_SPACE:
        detail = (
            f"needs {why.needed} bytes of shared memory, {why.free_bytes} are free; choose a smaller capacity or "
            "enlarge it (mount -o remount,size=SIZE /dev/shm; docker run --shm-size=SIZE; "
            "an emptyDir with medium Memory in Kubernetes)"
        )
        return SegmentError(name, reason="space", detail=detail, errno=err, needed=why.needed, free=why.free_bytes)
    if code == lib.KR_E_CORRUPT:
        return CorruptRing(name, position=0, field="head and tail are further apart than the capacity")
    if code == lib.KR_E_ARGUMENT:
        return ValueError(f"segment {name!r}: {os.strerror(err)}")
    detail = os.strerror(err) if err else "out of memory"
    if err in (errno.EMFILE, errno.ENFILE):
        detail += ": raise the limit of open files (each process needs three for a ring, and four more while it waits)"
    return SegmentError(name, reason="resources", detail=detail, errno=err)


def _who_may(name: str) -> str:
    """Say why this process may not use a segment."""
    try:
        info = os.lstat(f"/dev/shm/{name}")
    except OSError:
        return "this process may not open it"
    if info.st_uid != os.geteuid():
        return f"it belongs to another user (uid {info.st_uid}, this process runs as {os.geteuid()})"
    return f"its mode is {stat.S_IMODE(info.st_mode):04o}, and that of a ring is 0600: run chmod 600 /dev/shm/{name}"


def role_failure(name: str, role: str, why: CData) -> Exception:
    """The exception for a role that could not be taken."""
    if why.code == lib.KR_E_TAKEN:
        return RoleTaken(name, role=role, pid=why.pid)
    if why.code in (lib.KR_E_CLOSED, lib.KR_E_FORKED):
        return handle_fault(name, why.code)
    return segment_failure(name, why)


def handle_fault(name: str, code: int) -> Exception:
    """The exception for an error code of a producer or consumer, except the codes about the peer."""
    if code == lib.KR_E_CLOSED:
        return ClosedError(name)
    if code == lib.KR_E_FORKED:
        return ClosedError(name, "forked")
    if code == lib.KR_E_CORRUPT:
        return CorruptRing(name, position=0, field="head and tail are further apart than the capacity")
    if code == lib.KR_E_NOMEM:
        return MemoryError(f"ring {name!r}: no memory for the overflow")
    if code == lib.KR_E_SYSTEM:
        err = ffi.errno
        return SegmentError(name, reason="resources", detail=os.strerror(err), errno=err)
    if code == lib.KR_E_BUSY:
        return GrantOpen(name)
    return ValueError(f"ring {name!r}: the core refused the arguments ({code})")


def consumer_fault(name: str, consumer: Any, code: int) -> Exception:
    """The same for a consumer, which knows the position and the field that are corrupt."""
    if code == lib.KR_E_BUSY:
        return BatchOpen(name)
    if code == lib.KR_E_CORRUPT:
        position = ffi.new("uint64_t *")
        field = lib.kr_consumer_fault(consumer, position)
        return CorruptRing(name, position=position[0], field=_FIELDS.get(field, str(field)))
    return handle_fault(name, code)
