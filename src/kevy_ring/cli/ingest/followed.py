"""``kevy-ring ingest URL``: follow existing upstreams, and compare if asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from kevy_ring.cli import figures
from kevy_ring.cli.compare.comparison import comparison_of
from kevy_ring.cli.ingest.asked import Asked
from kevy_ring.cli.ingest.goal import ForDuration, UntilCaughtUp, UntilStopped
from kevy_ring.cli.ingest.health import Health
from kevy_ring.cli.ingest.outcome import Outcome
from kevy_ring.cli.ingest.replication import Replication
from kevy_ring.cli.ingest.sink_check import check_sinks
from kevy_ring.cli.redaction import shown_url
from kevy_ring.cli.views.view import View


def run_followed(
    asked: Asked,
    make_view: Callable[[], View],
    serve: Callable[[View], AbstractContextManager[Health]],
    stack: ExitStack,
) -> tuple[View, list[Outcome], list[str]]:
    """Follow until the goal is reached. Returns the view, the outcome, and the closing remarks.

    ``serve``: serves the metrics and the health. ``stack``: the command closes it at its end.
    """
    sink, streams = asked.sink or "", len(asked.follow.upstreams)
    chosen = asked.sink_options.filter
    compare = None
    if asked.verify:
        compare = comparison_of(asked.upstreams, asked.sources, sink, asked.shards, streams, chosen=chosen)
    check_sinks(sink, streams, asked.sink_options, stack)
    view, goal = make_view(), _goal(asked)
    replication = Replication(
        asked.follow,
        sink,
        goal,
        view,
        compare=compare,
        sink_options=asked.sink_options,
        give_up_after_s=asked.give_up_after_s,
        allow_skipped=asked.allow_skipped,
    )
    replication.make_rings()
    _title(asked, goal, view)
    with serve(view) as health:
        outcome = replication.run(health)
    view.outcome(outcome)
    did = "done" if outcome.comparison is None else "verified"
    return view, [outcome], [f"{did} in {figures.seconds(outcome.seconds)}"]


def _goal(asked: Asked) -> UntilStopped:
    if asked.duration is not None:
        return ForDuration(asked.duration)
    return UntilCaughtUp() if asked.until_caught_up or asked.verify else UntilStopped()


def _title(asked: Asked, goal: UntilStopped, view: View) -> None:
    shown, sink, streams = [str(each) for each in asked.upstreams], shown_url(asked.sink or ""), asked.follow.upstreams
    parts = [f"{len(streams)} shard{'s' if len(streams) > 1 else ''}", goal.text]
    parts += ["then compared key by key"] if asked.verify else []
    chosen = str(asked.sink_options.filter)
    parts += [chosen] if chosen else []
    view.title(
        f"{', '.join(shown)} → {sink}",
        " · ".join(parts),
        upstreams=shown,
        sink=sink,
        shards=len(streams),
        capacity=asked.follow.capacity,
        verify=asked.verify,
        filter=chosen,
    )
