"""iceoryx2 with its events: the receiver sleeps until it is notified."""

from __future__ import annotations

from typing import Any

from bench.rivals.iceoryx2 import Iceoryx2


class Iceoryx2Events(Iceoryx2):
    """A notifier beside the publisher, a listener beside the subscriber."""

    note = "send and notify / blocking_wait and receive"

    def _events(self) -> Any:
        import iceoryx2 as iox2

        return self._node.service_builder(iox2.ServiceName.new(f"{self.tag}e")).event().open_or_create()

    def open_sender(self) -> None:
        """Open publisher and notifier."""
        super().open_sender()
        self._notifier: Any = self._retried(lambda: self._events().notifier_builder().create())
        self.put = self._put_and_notify

    def open_receiver(self) -> None:
        """Open listener and subscriber; the listener first, since a sender that sees the subscriber goes on."""
        self._service_kept: Any = self._opened()
        self._listener: Any = self._retried(lambda: self._events().listener_builder().create())
        self._subscriber = self._service_kept.subscriber_builder().create()
        self.get = self._get

    def _put_and_notify(self, record: bytes) -> bool:
        self._put(record)
        self._notifier.notify()
        return True

    def _get(self) -> Any:
        while not (record := self._poll()):
            self._listener.blocking_wait()
        return record


TRANSPORT = Iceoryx2Events
