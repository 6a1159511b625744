"""``kevy-ring replay``: apply the dead letters of a run to its sink."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

import click

from kevy_ring.cli import figures
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.ingest.options_password import sink_password_options, with_sink_password
from kevy_ring.cli.redaction import without_secrets
from kevy_ring.shard.refused.letter import DeadLetter
from kevy_ring.shard.refused.marks import ReplayMark, ReplayMarks, letters_in
from kevy_ring.shard.refused.replay import Replayed, ReplayTarget
from kevy_ring.shard.refused.replay import replay as replay_letters
from kevy_ring.shard.sinks.replay_target import check_replay_sink, replay_target
from kevy_ring.shard.sinks.sink_url import sink_place


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--sink", metavar="SINK", required=True,
    help="The sink of the run: sqlite:FILE, redis://HOST:PORT[/DB] or python:MODULE:CALLABLE.",
)  # fmt: skip
@sink_password_options
@click.option(
    "--shards", metavar="N", type=click.IntRange(1, 1024), default=1, show_default=True,
    help="Number of streams of the run: the same as then, so that each letter finds the sink of its shard.",
)  # fmt: skip
@click.option(
    "--over-existing", is_flag=True,
    help="Apply a command also if the sink holds its key, or if it names none. It then acts on later changes.",
)  # fmt: skip
@click.option(
    "--again", is_flag=True,
    help="Apply a letter also if an earlier replay was killed while the sink took it. It may then be applied twice.",
)  # fmt: skip
@click.option(
    "--other-sink", is_flag=True,
    help="Replay letters also if they name another sink than SINK, for example after the sink was moved.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Apply nothing; print the letters that were not applied yet.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def replay(
    file: Path,
    sink: str,
    shards: int,
    *,
    over_existing: bool,
    again: bool,
    other_sink: bool,
    dry_run: bool,
    as_json: bool,
    **passwords: str | None,
) -> int:
    """Apply the dead letters in FILE, which ingest --on-error dead-letter:FILE wrote, to the SINK of that run.

    Each letter is applied once, in order. FILE.replayed notes what was applied, so a second replay continues. The
    position of the sink in the stream does not move. No run may write to FILE or to the sink meanwhile.

    A later change of the same key may be in the sink already. So a command whose key exists there is held back, and
    named. The commands of a transaction are applied one by one.

    Exit code: 0 every letter is applied, 1 some are not, 2 bad usage.
    """
    _check(sink)
    sink = with_sink_password(sink, passwords) or sink
    with letters_in(file) as (letters, torn), closing(ReplayMarks(file)) as marks, ExitStack() as opened:
        if dry_run:
            for letter in letters:
                if marks.of(letter) is not ReplayMark.DONE:
                    print(without_secrets(f"{letter.words}: {letter.error}"))
            return 0
        _check_letters(letters, sink, shards, other_sink=other_sink)
        targets: dict[int, ReplayTarget] = {}

        def target_of(letter: DeadLetter) -> ReplayTarget:
            shard = letter.origin.shard
            if shard not in targets:
                targets[shard] = replay_target(sink, shard=shard, shards=shards, upstream=letter.origin.upstream)
                opened.callback(targets[shard].close)
            return targets[shard]

        done = replay_letters(letters, marks, target_of, over_existing=over_existing, again=again)
    _print(done, torn, as_json=as_json)
    return 0 if done.is_complete else 1


def _check(sink: str) -> None:
    try:
        check_replay_sink(sink)
    except ValueError as error:
        raise click.UsageError(f"--sink: {without_secrets(str(error))}") from error


def _check_letters(letters: list[DeadLetter], sink: str, shards: int, *, other_sink: bool) -> None:
    """Refuse letters that are not of this sink before any is applied."""
    most = max((letter.origin.shard for letter in letters), default=0)
    if most >= shards:
        raise click.UsageError(f"the file has letters of shard {most}: give --shards {most + 1} or more")
    for letter in letters:
        place = sink_place(sink, letter.origin.shard, shards)
        if letter.origin.sink != place and not other_sink:
            names = f"a letter is of the sink {letter.origin.sink}, and not of {place}"
            hint = "Give the sink and the --shards of the run. If the sink was moved: --other-sink"
            raise Failure(without_secrets(f"{names}. {hint}"))


def _print(done: Replayed, torn: int, *, as_json: bool) -> None:
    if as_json:
        print(without_secrets(json.dumps(asdict(done) | {"torn_lines": torn, "complete": done.is_complete})))
        return
    groups = (
        ("failed again", done.failed), ("held back", done.held_back), ("uncertain", done.uncertain),
        ("not in the letter", done.unreadable),
    )  # fmt: skip
    for what, texts in groups:
        for text in texts:
            print(without_secrets(f"{what}: {text}"))
    counts = [f"{figures.plural(done.applied, 'letter')} applied"]
    counts += [f"{done.already:,} applied before"] if done.already else []
    counts += [f"{len(texts):,} {what}" for what, texts in groups if texts]
    counts += [f"{figures.plural(torn, 'torn line')} passed over"] if torn else []
    print(", ".join(counts))
