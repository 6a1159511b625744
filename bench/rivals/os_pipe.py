"""A pipe of the kernel, bare: the floor of everything that sleeps in Python."""

from __future__ import annotations

import os
from functools import partial

from bench.transport import Transport


class OsPipe(Transport):
    """``os.write`` and ``os.read``, for records of at most 4096 bytes of one size."""

    name = "os.pipe"
    note = "os.write / os.read; records of one size"

    def create(self) -> None:
        """Both sides inherit it."""
        self._receiving, self._sending = os.pipe()

    def open_sender(self) -> None:
        """Close the other end, so that its death is seen."""
        os.close(self._receiving)
        self.put = partial(os.write, self._sending)

    def open_receiver(self) -> None:
        """Close the other end, so that its death is seen."""
        os.close(self._sending)
        self.get = self._get

    def settle(self) -> None:
        """The creator keeps no end."""
        os.close(self._receiving)
        os.close(self._sending)

    def _get(self) -> bytes:
        record = os.read(self._receiving, self.record_bytes)
        if not record:
            raise EOFError
        return record


TRANSPORT = OsPipe
