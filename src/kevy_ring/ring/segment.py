"""The shared memory of one ring: made by its owner, found by name, removed by its owner."""

from __future__ import annotations

import os
import secrets
import time
from multiprocessing import resource_tracker
from multiprocessing.util import Finalize
from operator import index
from typing import TYPE_CHECKING

from kevy_ring._calls import Lender
from kevy_ring._core import ffi, lib
from kevy_ring.errors import SegmentError
from kevy_ring.ring.deadline import deadline_after
from kevy_ring.ring.fault import segment_failure
from kevy_ring.ring.segment_names import (
    SHM_DIR,
    Files,
    TrackedNames,
    file_names,
    files_of,
    lost_names,
    remove_names,
    temporary_object,
)

if TYPE_CHECKING:
    from kevy_ring._core import CData

DEFAULT_CAPACITY = 8 << 20
NAME_MAX = 30  # macOS allows 31 with the slash; the doorbells beside the segment add a suffix to it
NAME_PREFIX = "kevy-"
_POLL_S = 0.001


def address_of(memory: CData) -> int:
    """Where a handle or memory of the core lies, for the methods of ``_calls``."""
    return int(ffi.cast("uintptr_t", memory))


def new_name() -> str:
    """A name that nobody can guess: 80 random bits."""
    return NAME_PREFIX + secrets.token_hex(10)


def _check_name(name: str) -> str:
    if not name or len(name) > NAME_MAX or "/" in name or "\0" in name or name.startswith("."):
        raise ValueError(f"a ring's name has 1 to {NAME_MAX} characters, no slash, no leading dot: {name!r}")
    return name


def check_label(label: str) -> bytes:
    """The label as the header holds it. Raises ValueError for one that does not fit."""
    encoded = label.encode()
    if len(encoded) > lib.KR_LABEL_BYTES or "\0" in label:
        raise ValueError(f"a ring's label has at most {lib.KR_LABEL_BYTES} bytes and no zero byte: {label!r}")
    return encoded


def fitting_label(label: str) -> str:
    """The label, cut where it would not fit into the header."""
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
        raise ValueError(f"capacity is a power of two, at least {page} bytes: {capacity}")
    return capacity


class Segment:
    """A mapped segment. The creating process owns it; everybody else only attaches.

    ``handed_over`` is set once a handle was pickled: then the owner keeps the name until it exits, since
    another process may be on its way to attach.
    """

    def __init__(self, name: str, mapped: CData, *, is_owner: bool = False) -> None:
        self.name = name
        self.files = files_of(name, mapped)
        self.capacity: int = lib.kr_map_capacity(mapped)
        self.map: CData | None = mapped
        self.handed_over = False
        self._forks_before = lib.kr_forks_made()
        # Of this process, by id. Changed by one call each, without a lock: a lock would stay locked where the handler
        # of a signal raises between its two steps.
        self._handles: set[int] = set()
        self._made_by = os.getpid()
        self._unlinker: Finalize[None] | None = None
        if is_owner:
            self._unlinker = Finalize(None, _unlink, args=(name, self.files), exitpriority=0)

    @classmethod
    def create(
        cls, capacity: int = DEFAULT_CAPACITY, name: str | None = None, *, keep: bool = False, label: str = ""
    ) -> Segment:
        """Make a new segment of ``capacity`` bytes (a power of two, at least a page), mode 0600.

        ``keep``: it stays until somebody removes it (:meth:`Ring.remove`), whatever becomes of this process, and
        its header says so. ``label``: text of at most 256 bytes for people; the ring does not read it.

        Raises ``ValueError`` for a bad name, capacity or label and :class:`SegmentError` when the name exists
        (``"exists"``), shared memory is short (``"space"``, with ``needed`` and ``free``) or the process is at a
        limit (``"resources"``).
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
        """Make the segment under a temporary name, then give it its own, then its doorbells and its magic.

        The resource tracker knows each name before its file exists, so that it removes the file when this process is
        killed. The one exception is a name that the user chose: the tracker must not remove a file of that name
        before it is known to be ours, so it is told right after the link.
        """
        # Before there is anything to tell it of: at a limit its start fails, and a segment would stay behind.
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
                ffi.release(mapped)  # now: the traceback would hold it, and its memory, for as long as it lives
            raise

    @classmethod
    def attach(cls, name: str, timeout: float | None = 0.0) -> Segment:
        """Map an existing segment; waits up to ``timeout`` seconds (None: for ever) for it to be made.

        Never touches the resource tracker and never unlinks. Raises :class:`SegmentError` (``"missing"``,
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

    def new_lender(self) -> Lender:
        """A fresh mapping of the data area, which lends memoryviews of it."""
        area = self.new_area()
        return Lender(area, address_of(area), 2 * self.capacity)

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

    def lost_names(self) -> list[str]:
        """Which of its files in shared memory are gone, or are other files now. Who holds a mapping keeps the memory,
        but nobody finds the segment any more unless this is empty."""
        return lost_names(self.files)

    def unlink(self) -> None:
        """Remove the name (owner only, once). Mappings stay valid until their processes let go."""
        if self.is_owner and self._unlinker is not None:
            self._unlinker()


def handle_repr(handle: object, segment: Segment, role: CData | None, *, closed: bool) -> str:
    """The ``repr`` of a handle on one role. It takes no role, and a closed handle has one too."""
    state = "closed" if closed else "open" if role is not None else "its role is not taken yet"
    return f"<{type(handle).__name__} of ring {segment.name!r}, {segment.capacity} bytes: {state}>"


def _unlink(name: str, files: Files) -> None:
    remove_names(name, files)
    TrackedNames(file_names(name)).forget()
