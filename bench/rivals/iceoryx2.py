"""iceoryx2: publish and subscribe in shared memory, in Rust."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Any

from bench.transport import Records, Sink, Transport, retried


class Iceoryx2(Transport):
    """Loaned samples, without safe overflow, sent until they are delivered: nothing is dropped."""

    name = "iceoryx2"
    distribution = "iceoryx2"
    modules = ("iceoryx2",)
    note = "loan_slice_uninit, send / receive, in place; retries until delivered"

    def _service(self) -> Any:
        self.library.set_log_level(self.library.LogLevel.Fatal)
        config = self.library.config.default()
        config.global_cfg.prefix = self.library.FileName.new(f"{self.tag}_")
        config.global_cfg.root_path = self.library.Path.new(f"{self.folder}/")
        self._node: Any = self.library.NodeBuilder.new().config(config).create(self.library.ServiceType.Ipc)
        builder = self._node.service_builder(self.library.ServiceName.new(self.tag))
        builder = builder.publish_subscribe(self.library.Slice[ctypes.c_uint8])
        builder = builder.max_publishers(1).max_subscribers(1).history_size(0).enable_safe_overflow(False)
        return builder.subscriber_max_buffer_size(min(self.places, 8192)).open_or_create()

    def create(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def remove(self) -> None:
        super().remove()
        for path in Path("/dev/shm").glob(f"{self.tag}_*"):
            path.unlink(missing_ok=True)

    def open_sender(self) -> None:
        service = self._opened()
        for _ in range(500):
            if service.dynamic_config.number_of_subscribers:
                break
            time.sleep(0.01)
        else:
            raise TimeoutError("no subscriber came")
        factory = service.publisher_builder().initial_max_slice_len(self.record_bytes)
        factory = factory.backpressure_strategy(self.library.BackpressureStrategy.RetryUntilDelivered)
        self._publisher: Any = factory.create()
        self.put = self._put

    def open_receiver(self) -> None:
        self._subscriber: Any = self._opened().subscriber_builder().create()
        self.poll = self._poll

    def _opened(self) -> Any:
        """The service. Both sides may make it at the same moment: then one has to try again."""
        return retried(self._service)

    def _put(self, record: bytes) -> bool:
        sample = self._publisher.loan_slice_uninit(len(record))
        ctypes.memmove(sample.payload_ptr, record, len(record))
        sample.assume_init().send()
        return True

    def _poll(self) -> Any:
        sample = self._subscriber.receive()
        if sample is None:
            return None
        record = ctypes.string_at(sample.payload_ptr, self.record_bytes)
        sample.delete()
        return record

    def send_single(self, records: Records, repeats: int) -> None:
        """Each record into a loaned sample."""
        loan, memmove, length = self._publisher.loan_slice_uninit, ctypes.memmove, self.record_bytes
        for _ in range(repeats):
            for record in records:
                sample = loan(length)
                memmove(sample.payload_ptr, record, length)
                sample.assume_init().send()

    def take_single(self, count: int, sink: Sink) -> bytes:
        """Each record copied out of its sample."""
        receive, string_at, take, length = self._subscriber.receive, ctypes.string_at, sink.take, self.record_bytes
        record = b""
        while count:
            sample = receive()
            if sample is not None:
                record = string_at(sample.payload_ptr, length)
                take(record)
                sample.delete()
                count -= 1
        return record

    send_chunks = send_single

    def take_chunks(self, count: int, sink: Sink) -> bytes:
        """Each chunk in place."""
        receive, see, kind = self._subscriber.receive, sink.chunk, ctypes.c_char * self.record_bytes
        last = b""
        while count:
            sample = receive()
            if sample is None:
                continue
            count -= 1
            view = memoryview(kind.from_address(sample.payload_ptr)).cast("B")
            see(view)
            if not count:
                last = bytes(view)
            del view
            sample.delete()
        return last


class Iceoryx2Events(Iceoryx2):
    """With its events: the publisher also notifies, and the subscriber sleeps in a listener."""

    note = "send and notify / blocking_wait and receive"

    def _events(self) -> Any:
        return self._node.service_builder(self.library.ServiceName.new(f"{self.tag}e")).event().open_or_create()

    def open_sender(self) -> None:
        super().open_sender()
        self._notifier: Any = retried(lambda: self._events().notifier_builder().create())
        self.put = self._put_and_notify

    def open_receiver(self) -> None:
        self._service_kept: Any = self._opened()
        self._listener: Any = retried(lambda: self._events().listener_builder().create())
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
