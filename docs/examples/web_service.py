"""A web service that answers from a read model. A ring feeds the model while the service runs.

Serve: RING=name uvicorn --factory web_service:serve. Try it with a client in the same process: python web_service.py
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from kevy_ring import Frame, ReplicaInboxReceiver, replica_inbox_pair
from kevy_ring.events import BytesLike
from kevy_ring.shard import Shard
from kevy_ring.shard.sinks.python import PythonSink


def create_app(receiver: ReplicaInboxReceiver) -> Starlette:
    views: Counter[str] = Counter()  # the read model

    def apply(_offset: int, argv: Sequence[BytesLike]) -> None:
        views[bytes(argv[1]).decode()] += 1

    shard = Shard(receiver, PythonSink(apply), max_events=256)  # a request waits for at most one batch

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(shard.run_async, outlives_sender=True))
            yield
            tasks.cancel_scope.cancel()

    async def page(request: Request) -> JSONResponse:
        name = request.path_params["name"]
        return JSONResponse({"page": name, "views": views[name], "as_of": shard.applied_offset})

    app = Starlette(lifespan=lifespan)
    app.add_route("/pages/{name}", page)
    return app


def serve() -> Starlette:
    # One worker: a ring has one receiver.
    return create_app(ReplicaInboxReceiver.attach(os.environ["RING"], timeout=10))


async def main() -> None:
    sender, receiver = replica_inbox_pair()
    app = create_app(receiver)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        sender.send_many([Frame(n, [b"INCR", b"home" if n % 3 else b"about"]) for n in range(3000)])
        while (reply := (await client.get("http://service/pages/home")).json())["as_of"] != 2999:
            await anyio.sleep(0.01)
        print(reply)


if __name__ == "__main__":
    anyio.run(main)
