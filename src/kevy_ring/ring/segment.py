"""The shared memory of one ring: its owner makes and removes it, other processes find it by name."""

from __future__ import annotations

import os
import secrets
import time
from multiprocessing import resource_tracker
from multiprocessing.util import Finalize
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kevy_ring._calls import Lender
from kevy_ring._core import ffi, lib
from kevy_ring.errors import ClosedError, SegmentError
from kevy_ring.ring.deadline import deadline_after
from kevy_ring.ring.fault import segment_failure
from kevy_ring.ring.segment_names import (
    SHM_DIR,
    Files,
    TrackedNames,
    file_names,
    files_of,
    remove_names,
    temporary_object,
)

if TYPE_CHECKING:
    from kevy_ring._core import CData

DEFAULT_CAPACITY = 8 << 20
NAME_MAX = 30  # macOS allows 31 with the slash; a doorbell has this name and a suffix
NAME_PREFIX = "kevy-"
_POLL_S = 0.001


def address_of(memory: CData) -> int:
    """The address of a handle or of memory of the core, for the methods of ``_calls``."""
    return int(ffi.cast("uintptr_t", memory))


def new_name() -> str:
    """A name that cannot be guessed: it has 80 random bits."""
    return NAME_PREFIX + secrets.token_hex(10)


def _check_name(name: str) -> str:
    if not name or len(name) > NAME_MAX or "/" in name or "\0" in name or name.startswith("."):
        raise ValueError(f"a ring's name has 1 to {NAME_MAX} characters, no slash and no leading dot, not {name!r}")
    return name


def check_label(label: str) -> bytes:
    """The label as bytes for the header. Raises ValueError if it does not fit."""
    encoded = label.encode()
    if len(encoded) > lib.KR_LABEL_BYTES or "\0" in label:
        raise ValueError(f"a ring's label has at most {lib.KR_LABEL_BYTES} bytes and no zero byte, not {label!r}")
    return encoded


def fitting_label(label: str) -> str:
    """The label, cut so that it fits into the header."""
    encoded = label.replace("\0", "").encode()
    if len(encoded) <= lib.KR_LABEL_BYTES:
        return encoded.decode()
    more = "…"
    return encoded[: lib.KR_LABEL_BYTES - len(more.encode())].decode("utf-8", "ignore") + more


def _check_capacity(capacity: int) -> int:
    if not hasattr(capacity, "__index__"):
        raise TypeError(f"capacity is a whole number of bytes, not a {type(capacity).__name__}: {capacity!r}")
    capacity = index(capacity)
    page = lib.kr_page_bytes()
    if capacity < page or capacity & (capacity - 1):
        raise ValueError(f"capacity is a power of two, at least {page} bytes, not {capacity}")
    return capacity


class Segment:
    """A mapped segment. The process that made it owns it; other processes attach to it.

    Made by :meth:`create` and :meth:`attach`. ``handed_over`` is set when a handle is pickled. Then the owner keeps the
    name until it exits, because another process may be about to attach. Most programs use :class:`Ring` instead.

        segment = Segment.create(1 << 20)
        producer, consumer = Producer(segment), Consumer(Segment.attach(segment.name))
    """

    def __init__(self, name: str, mapped: CData, *, is_owner: bool = False) -> None:
        self.name = name
        self.files = files_of(name, mapped)
        self.capacity: int = lib.kr_map_capacity(mapped)
        self.map: CData | None = mapped
        self.handed_over = False
        self._forks_before = lib.kr_forks_made()
        # The ids of this process's handles. Each change is one call, without a lock: a lock would stay locked if a
        # signal handler raised while it is held.
        self._handles: set[int] = set()
        self._made_by = os.getpid()
        self._unlinker: Finalize[None] | None = None
        if is_owner:
            # Below 0: after multiprocessing has joined its children. A child may not have attached yet.
            self._unlinker = Finalize(None, _unlink, args=(name, self.files), exitpriority=-1)

    @classmethod
    def create(
        cls, capacity: int = DEFAULT_CAPACITY, name: str | None = None, *, keep: bool = False, label: str = ""
    ) -> Segment:
        """Make a new segment of ``capacity`` bytes (a power of two, at least a page), mode 0600. Returns it.

        ``keep``: the segment stays after this process ends, until :meth:`Ring.remove`; a flag in its header says so.
        ``label``: text of at most 256 bytes for people; the ring does not read it.

        Raises ``ValueError`` for a bad name, capacity or label, and :class:`SegmentError` if the name exists
        (``"exists"``), shared memory is short (``"space"``, with ``needed`` and ``free``) or the process is at a limit
        (``"resources"``).
        """
        capacity = _check_capacity(capacity)
        encoded = check_label(label)
        given, name = name, _check_name(name if name is not None else new_name())
        try:
            return cls._make(capacity, name, encoded, keep=keep, is_random=given is None)
        except FileExistsError as exc:
            raise SegmentError(
                name, reason="exists", detail="a segment of this name exists", errno=exc.errno or 0
            ) from exc
        except OSError as exc:
            raise SegmentError(name, reason="resources", detail=str(exc), errno=exc.errno or 0) from exc

    @classmethod
    def _make(cls, capacity: int, name: str, label: bytes, *, keep: bool, is_random: bool) -> Segment:
        """Make the segment under a temporary name, then link its own name, then make its doorbells and write its magic.

        Each name is registered with the resource tracker before its file exists, so that the tracker removes the file
        if this process is killed. A name that the user chose is registered right after the link instead: before that a
        file of this name may belong to another process.
        """
        # First: at a limit of the process the tracker cannot start, and a segment would stay behind.
        resource_tracker.ensure_running()
        why = ffi.new("kr_failure *")
        tracked = TrackedNames()
        mapped, files = None, None
        try:
            with temporary_object(f"{new_name()}.new") as temporary:
                flags = lib.KR_SEGMENT_KEPT if keep else 0
                made = lib.kr_map_prepare(temporary.encode(), capacity, flags, label, len(label), why)
                if made == ffi.NULL:
                    raise segment_failure(name, why)
                mapped = ffi.gc(made, lib.kr_map_close)
                files = files_of(name, mapped)
                if is_random:
                    tracked.add(file_names(name))
                os.link(SHM_DIR / temporary, SHM_DIR / name)
                tracked.add(file_names(name))
            if lib.kr_map_finish(mapped, name.encode(), why):
                raise segment_failure(name, why)
            if keep:
                tracked.forget()
            return cls(name, mapped, is_owner=not keep)
        except BaseException:
            if files is not None:
                remove_names(name, files)
            tracked.forget()
            if mapped is not None:
                ffi.release(mapped)  # now: else the traceback would keep the memory
            raise

    @classmethod
    def attach(cls, name: str, timeout: float | None = 0.0) -> Segment:
        """Map an existing segment. Returns it. Waits up to ``timeout`` seconds (None: without limit) for it to be made.

        Never uses the resource tracker and never removes a name. Raises :class:`SegmentError` (``"missing"``,
        ``"timeout"``, ``"permission"``, ``"not-a-ring"``, ``"version"``, ``"geometry"``, ``"resources"``).
        """
        _check_name(name)
        deadline = deadline_after(timeout)
        why = ffi.new("kr_failure *")
        while True:
            mapped = lib.kr_map_attach(name.encode(), why)
            if mapped != ffi.NULL:
                return cls(name, ffi.gc(mapped, lib.kr_map_close))
            pending = why.code in (lib.KR_E_MISSING, lib.KR_E_NOT_READY)
            if not pending or (deadline is not None and time.monotonic() >= deadline):
                raise segment_failure(name, why)
            time.sleep(_POLL_S)

    def if_open(self) -> Segment:
        """This segment. Raises :class:`ClosedError` if it has no mapping any more."""
        if self.map is None:
            raise ClosedError(self.name)
        return self

    @property
    def is_owner(self) -> bool:
        """Whether this process made the segment and will remove it."""
        return self._unlinker is not None and self._unlinker.still_active() and self._made_by == os.getpid()

    @property
    def may_be_elsewhere(self) -> bool:
        """Whether another process may have, or be about to take, a handle that was made here."""
        return self.handed_over or lib.kr_forks_made() != self._forks_before

    def new_area(self) -> CData:
        """A new mapping of the data area, twice back to back. It lives as long as the last view of it."""
        why = ffi.new("kr_failure *")
        area = lib.kr_area_map(self.map, why)
        if area == ffi.NULL:
            raise segment_failure(self.name, why)
        return ffi.gc(area, lib.kr_area_free)

    def new_lender(self) -> Lender:
        """A lender with a new mapping of the data area."""
        area = self.new_area()
        return Lender(area, address_of(area), 2 * self.capacity)

    @property
    def closes_unused_roles(self) -> bool:
        """Whether closing a handle that never took its role marks the role as closed.

        True for the owner of a ring that passed no handle on: then no other process is expected to take the role.
        """
        return self.is_owner and not self.may_be_elsewhere

    def enter(self, handle: object) -> Segment:
        """Count one more handle of this process. Returns the segment."""
        self._handles.add(id(handle))
        return self

    def leave(self, handle: object, *, keeps_name: bool = False) -> None:
        """Count one handle less, once. After the owner's last one the name is removed, unless it was handed over.

        ``keeps_name``: the name stays until this process ends, for a receiver that has not come yet.
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
        """Remove the name (owner only, once). Mappings stay valid until their processes drop them."""
        if self.is_owner and self._unlinker is not None:
            self._unlinker()


class Handle:
    """A handle on one role: what a producer, a consumer and a sender have in common."""

    _segment: Segment
    _closed: bool
    _handle: CData | None

    def close(self) -> object:
        """Give the role up."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:  # takes no role, and works on a closed handle
        state = "closed" if self._closed else "open" if self._handle is not None else "its role is not taken yet"
        return f"<{type(self).__name__} of ring {self._segment.name!r}, {self._segment.capacity} bytes: {state}>"


def _unlink(name: str, files: Files) -> None:
    remove_names(name, files)
    TrackedNames(file_names(name)).forget()
