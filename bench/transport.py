"""A transport: one rival's way from one process to another, as the cases drive it."""

from __future__ import annotations

import importlib
import importlib.metadata
import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.sink import Sink


class Transport:
    """Both ends of a one-way path for byte records. Made before the fork, opened on each side after it.

    A *way* is a pair of methods ``send_WAY(records, repeats)`` and ``take_WAY(count, sink) -> bytes``: whole loops, so
    that a rival pays for no call that it does not need. ``take`` returns the last record. For latency and behaviour:
    ``put`` sends one record (falsy or an exception: full), ``poll`` takes one without waiting (falsy: nothing there),
    ``get`` waits for one as the rival waits.
    """

    name: ClassVar[str]
    distribution: ClassVar[str] = ""  # on PyPI; empty for what comes with Python
    modules: ClassVar[tuple[str, ...]] = ()  # to import before the clock runs
    note: ClassVar[str] = ""

    put: Callable[[bytes], Any]
    poll: Callable[[], Any]
    get: Callable[[], Any]

    def __init__(self, tag: str, record_bytes: int, capacity_bytes: int) -> None:
        self.tag = tag  # unique on this machine, at most 20 characters of [a-z0-9]
        self.record_bytes = record_bytes
        self.capacity_bytes = capacity_bytes
        self.places = max(16, capacity_bytes // max(record_bytes, 16))  # for rings that count records, not bytes
        self.places = 1 << (self.places.bit_length() - 1)
        self._folder: Path | None = None
        self.get = self._polled  # for a rival that has no waiting form

    @property
    def folder(self) -> Path:
        """A folder of this transport's own, removed with it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"kevy-bench-{self.tag}-"))
        return self._folder

    def create(self) -> None:
        """Make what both sides inherit. Called once, before the fork."""

    def settle(self) -> None:
        """Let go, in the creator, of what only the two sides may hold. Called after both forks."""

    def open_sender(self) -> None:
        """Open the sending end, in its process. May wait for the other side."""

    def open_receiver(self) -> None:
        """Open the receiving end, in its process. May wait for the other side."""

    def remove(self) -> None:
        """Take everything away that outlives the processes. Called by the creator when both have ended."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _polled(self) -> Any:
        while not (found := self.poll()):
            pass
        return found

    def sending_loop(self, way: str) -> Callable[[Sequence[bytes], int], None]:
        """The loop that sends all ``records`` ``repeats`` times."""
        return getattr(self, f"send_{way}")  # type: ignore[no-any-return]

    def taking_loop(self, way: str) -> Callable[[int, Sink], bytes]:
        """The loop that takes ``count`` records and returns the last."""
        return getattr(self, f"take_{way}")  # type: ignore[no-any-return]


def new_tag() -> str:
    """A name for one round's transports that no other on this machine has."""
    return f"kb{secrets.token_hex(5)}"


def sweep(tag: str) -> None:
    """Remove what the transports of a round left behind that was ended from outside."""
    for path in Path("/dev/shm").glob(f"*{tag}*"):
        path.unlink(missing_ok=True)
    for folder in Path(tempfile.gettempdir()).glob(f"kevy-bench-{tag}*"):
        shutil.rmtree(folder, ignore_errors=True)


def transport_class(module: str) -> type[Transport]:
    """The transport of ``bench.rivals.MODULE``."""
    return importlib.import_module(f"bench.rivals.{module}").TRANSPORT  # type: ignore[no-any-return]


def why_missing(kind: type[Transport]) -> str:
    """Why a transport cannot take part here; empty when it can."""
    for module in kind.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            return f"{kind.distribution or module} does not import: {error}"
    return ""


def version_of(kind: type[Transport]) -> str:
    """The installed version of a rival's distribution."""
    try:
        return importlib.metadata.version(kind.distribution) if kind.distribution else ""
    except importlib.metadata.PackageNotFoundError:
        return "source tree"
