"""The shared memory of one ring: made by its owner, found by name, removed by its owner."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from multiprocessing import resource_tracker, shared_memory
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING

from kevy_ring._core import ffi, lib
from kevy_ring.errors import SegmentError
from kevy_ring.ring.fault import segment_failure

if TYPE_CHECKING:
    from kevy_ring._core import CData

SHM_DIR = Path("/dev/shm")
DEFAULT_CAPACITY = 8 << 20
NAME_MAX = 30  # macOS allows 31 with the slash; the doorbells beside the segment add a suffix to it
NAME_PREFIX = "kevy-"
_POLL_S = 0.001


def new_name() -> str:
    """A name that nobody can guess: 80 random bits."""
    return NAME_PREFIX + secrets.token_hex(10)


def _check_name(name: str) -> str:
    if not name or len(name) > NAME_MAX or "/" in name or "\0" in name or name.startswith("."):
        raise ValueError(f"a ring's name has 1 to {NAME_MAX} characters, no slash, no leading dot: {name!r}")
    return name


def _check_capacity(capacity: int) -> int:
    page = lib.kr_page_bytes()
    if capacity < page or capacity & (capacity - 1):
        raise ValueError(f"capacity is a power of two, at least {page} bytes: {capacity}")
    return capacity


class Segment:
    """A mapped segment. The creating process owns it; everybody else only attaches.

    ``handed_over`` is set once a handle was pickled: then the owner keeps the name until it exits, since
    another process may be on its way to attach.
    """

    def __init__(self, name: str, mapped: CData, memory: shared_memory.SharedMemory | None) -> None:
        self.name = name
        self.capacity: int = lib.kr_map_capacity(mapped)
        self.map: CData | None = mapped
        self.handed_over = False
        self._forks_before = lib.kr_forks_made()
        # Of this process, by id. Changed by one call each, without a lock: a lock would stay locked where the handler
        # of a signal raises between its two steps.
        self._handles: set[int] = set()
        self._made_by = os.getpid()
        self._unlinker: Finalize[None] | None = None
        if memory is not None:
            self._unlinker = Finalize(None, _unlink, args=(memory, name), exitpriority=0)

    @classmethod
    def create(cls, capacity: int = DEFAULT_CAPACITY, name: str | None = None, *, keep: bool = False) -> Segment:
        """Make a new segment of ``capacity`` bytes (a power of two, at least a page), mode 0600.

        ``keep``: it stays until somebody removes it (:func:`remove_segment`), whatever becomes of this process.

        Raises ``ValueError`` for a bad name or capacity and :class:`SegmentError` when the name exists
        (``"exists"``), shared memory is short (``"space"``, with ``needed`` and ``free``) or the process is at a
        limit (``"resources"``).
        """
        _check_capacity(capacity)
        name = _check_name(name if name is not None else new_name())
        try:
            # Before there is anything to tell it of: at a limit its start fails, and a segment would stay behind.
            resource_tracker.ensure_running()
            memory = shared_memory.SharedMemory(name, create=True, size=lib.kr_page_bytes() + capacity)
        except FileExistsError as exc:
            raise SegmentError(
                name, reason="exists", detail="a segment of this name exists", errno=exc.errno or 0
            ) from exc
        except OSError as exc:
            raise SegmentError(name, reason="resources", detail=str(exc), errno=exc.errno or 0) from exc
        memory.close()  # only its name and its unlinking are needed: the core maps the segment its own way
        _track(name, resource_tracker.register)
        why = ffi.new("kr_failure *")
        mapped = lib.kr_map_create(name.encode(), capacity, why)
        if mapped == ffi.NULL:
            _unlink(memory, name)
            raise segment_failure(name, why)
        if keep:
            _track(name, resource_tracker.unregister)
            resource_tracker.unregister(f"/{name}", "shared_memory")
            return cls(name, ffi.gc(mapped, lib.kr_map_close), None)
        return cls(name, ffi.gc(mapped, lib.kr_map_close), memory)

    @classmethod
    def attach(cls, name: str, timeout: float | None = 0.0) -> Segment:
        """Map an existing segment; waits up to ``timeout`` seconds (None: for ever) for it to be made.

        Never touches the resource tracker and never unlinks. Raises :class:`SegmentError` (``"missing"``,
        ``"timeout"``, ``"permission"``, ``"not-a-ring"``, ``"version"``, ``"geometry"``, ``"resources"``).
        """
        _check_name(name)
        deadline = None if timeout is None else time.monotonic() + timeout
        why = ffi.new("kr_failure *")
        while True:
            mapped = lib.kr_map_attach(name.encode(), why)
            if mapped != ffi.NULL:
                return cls(name, ffi.gc(mapped, lib.kr_map_close), None)
            pending = why.code in (lib.KR_E_MISSING, lib.KR_E_NOT_READY)
            if not pending or (deadline is not None and time.monotonic() >= deadline):
                raise segment_failure(name, why)
            time.sleep(_POLL_S)

    @property
    def is_owner(self) -> bool:
        """Whether this process made the segment and will remove it."""
        return self._unlinker is not None and self._unlinker.still_active() and self._made_by == os.getpid()

    @property
    def may_be_elsewhere(self) -> bool:
        """Whether another process may hold, or be about to take, a handle that came from here."""
        return self.handed_over or lib.kr_forks_made() != self._forks_before

    def new_area(self) -> CData:
        """A fresh mirrored mapping of the data area; it lives as long as the last view of it."""
        why = ffi.new("kr_failure *")
        area = lib.kr_area_map(self.map, why)
        if area == ffi.NULL:
            raise segment_failure(self.name, why)
        return ffi.gc(area, lib.kr_area_free)

    @property
    def closes_unused_roles(self) -> bool:
        """Whether a handle that is closed without ever having taken its role ends the role for good.

        So it is for the maker of a ring that handed nothing over: no other process can be meant to take it.
        """
        return self.is_owner and not self.may_be_elsewhere

    def enter(self, handle: object) -> Segment:
        """Count one more handle of this process."""
        self._handles.add(id(handle))
        return self

    def leave(self, handle: object, *, keeps_name: bool = False) -> None:
        """Count one handle less, once; the owner's last one removes the name, unless it was handed over.

        ``keeps_name``: it stays until this process ends, for a receiver that has yet to come.
        """
        if id(handle) not in self._handles:
            return
        self._handles.discard(id(handle))
        if self._handles:
            return
        if self.closes_unused_roles and not keeps_name:
            self.unlink()
        self.map = None  # the mapping and its descriptors go with the last role that holds them

    def unlink(self) -> None:
        """Remove the name (owner only, once). Mappings stay valid until their processes let go."""
        if self.is_owner and self._unlinker is not None:
            self._unlinker()


def remove_segment(name: str) -> None:
    """Remove a segment and its doorbells by name; one that is gone already is fine. Raises :class:`SegmentError`.

    Who is attached keeps the memory, but nobody finds the name any more.
    """
    lib.kr_unlink_doorbells(name.encode())
    try:
        os.unlink(SHM_DIR / name)
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise SegmentError(name, reason="permission", detail=str(exc.strerror), errno=exc.errno or 0) from exc


def _track(name: str, action: Callable[[str, str], None]) -> None:
    """The doorbells go the way of the segment when the owner is killed: the tracker removes them by name."""
    for suffix in ("data", "space"):
        action(f"/{name}.{suffix}", "shared_memory")


def _unlink(memory: shared_memory.SharedMemory, name: str) -> None:
    lib.kr_unlink_doorbells(name.encode())  # a doorbell that is gone already is fine
    _track(name, resource_tracker.unregister)
    with contextlib.suppress(FileNotFoundError):
        memory.unlink()
