"""``kevy-ring ingest`` without a URL: an embedded upstream, followed and compared, in two phases."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

import click

from kevy_ring.cli import figures
from kevy_ring.cli.compare.comparison import check_readable, embedded_comparison
from kevy_ring.cli.compare.digest import DigestComparison
from kevy_ring.cli.compare.verify import Verification
from kevy_ring.cli.ingest.asked import Asked
from kevy_ring.cli.ingest.goal import EmbeddedDone
from kevy_ring.cli.ingest.health import Health
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.replication import Replication
from kevy_ring.cli.ingest.sink_check import check_sinks
from kevy_ring.cli.redaction import shown_url
from kevy_ring.cli.views.view import View
from kevy_ring.replica.options import streams_of
from kevy_ring.shard.sinks.stdout import STDOUT
from kevy_ring.testing import EmbeddedPrimary

#: This share of the live frames goes into memory and is compared key by key. The rest is compared by number and CRC-32.
MEMORY_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class _Phase:
    name: str
    keys: int
    ops: int
    sink: str

    @property
    def is_compared(self) -> bool:
        return not self.sink.startswith("python:") and self.sink != STDOUT

    @property
    def title(self) -> str:
        how = "not compared"
        if self.is_compared:
            how = "compared by number and CRC-32" if self.sink == "null" else "compared key by key"
        start = f"{self.name}: " if self.name else "The embedded upstream "
        return f"{start}into {shown_url(self.sink)}, {how}"

    def detail(self, shards: int) -> str:
        frames = figures.plural(self.ops, "live frame")
        keys = f"{figures.plural(self.keys, 'key')} in the snapshot, then {frames}" if self.keys else frames
        return f"{figures.plural(shards, 'shard')}, {keys}"


def run_embedded(
    asked: Asked,
    make_view: Callable[[], View],
    serve: Callable[[View], AbstractContextManager[Health]],
    stack: ExitStack,
) -> tuple[View, list[Outcome], list[str]]:
    """Run the phases until one fails. Returns the view, the outcomes, and the closing remarks.

    ``serve``: serves the metrics and the health. ``stack``: the command closes it at its end.
    """
    if asked.verify and asked.sink not in (None, "null"):
        check_readable(asked.sink or "")
    phases = _phases(asked)
    for phase in phases:
        check_sinks(phase.sink, asked.shards, asked.sink_options, stack)
    view = make_view()
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with serve(view) as health:
        for phase in phases:
            outcome = _run(phase, asked, view, health, says_why=asked.sink is None and not outcomes)
            outcomes.append(outcome)
            view.outcome(outcome)
            if outcome.problems:
                break
    return view, outcomes, _closing(outcomes, time.monotonic() - began)


def _phases(asked: Asked) -> list[_Phase]:
    if asked.sink is not None:
        return [_Phase("", asked.keys, asked.ops, asked.sink)]
    first = int(asked.ops * MEMORY_SHARE)
    return [
        _Phase("Phase 1 of 2", asked.keys, first, "memory"),
        _Phase("Phase 2 of 2", 0, asked.ops - first, "null"),
    ]


def _run(phase: _Phase, asked: Asked, view: View, health: Health, *, says_why: bool) -> Outcome:
    try:
        primary = EmbeddedPrimary.start(shards=asked.shards, keys=phase.keys, ops=phase.ops, auto_live=False)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the embedded upstream: {error}") from error
    with primary:
        replication = Replication(
            replace(asked.follow, upstreams=streams_of(primary.url, asked.shards)),
            phase.sink,
            EmbeddedDone(primary, seconds=asked.duration),
            view,
            name=phase.name.lower() or "embedded upstream",
            compare=embedded_comparison(primary, phase.sink, asked.shards) if phase.is_compared else None,
            sink_options=asked.sink_options,
        )
        replication.make_rings()
        _title(phase, asked, view, says_why=says_why)
        return replication.run(health)


def _title(phase: _Phase, asked: Asked, view: View, *, says_why: bool) -> None:
    if says_why:
        view.note("No URL: this run starts an upstream, follows it over TCP, and compares what arrives with it.")
    view.title(
        phase.title,
        phase.detail(asked.shards),
        upstreams=["embedded"],
        sink=shown_url(phase.sink),
        shards=asked.shards,
        capacity=asked.follow.capacity,
        keys=phase.keys,
        frames=phase.ops,
        verify=phase.is_compared,
    )


def _closing(outcomes: list[Outcome], elapsed: float) -> list[str]:
    """What was compared, and a note on the rates."""
    compared = [outcome.comparison for outcome in outcomes]
    keys = sum(each.compared for each in compared if isinstance(each, Verification))
    frames = sum(each.frames for each in compared if isinstance(each, DigestComparison))
    proofs = [f"{figures.plural(keys, 'key')} by type, value and expiry"] if keys else []
    proofs += [f"{figures.plural(frames, 'frame')} by a CRC-32 over every byte"] if frames else []
    if not proofs:
        return [f"done in {figures.seconds(elapsed)}; nothing was compared"]
    return [
        f"verified in {figures.seconds(elapsed)}: {' and '.join(proofs)}",
        "The rates are of this machine alone: the Python upstream, the runners and the shards share its processors.",
    ]
