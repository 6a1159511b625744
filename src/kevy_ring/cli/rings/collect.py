"""``kevy-ring gc``: remove the rings that dead processes left behind."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field

import click

from kevy_ring.cli import figures
from kevy_ring.cli.completion import ring_names_with
from kevy_ring.cli.rings.ls import Found, look_at_all
from kevy_ring.cli.rings.ring_text import missing_text, odd_text, users_text
from kevy_ring.errors import SegmentError
from kevy_ring.ring import RingStats
from kevy_ring.ring.outside.leftovers import OddSegment, is_unused, remove_abandoned, settled_odd_segment


@dataclass(slots=True)
class _Outcome:
    """What gc did with the rings: names with bytes, and text for people.

    ``in_use``: rings that the user named and that a process uses. ``left``: the number of all rings in use.
    """

    removed: list[tuple[str, int]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    in_use: list[tuple[str, str]] = field(default_factory=list)
    left: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=ring_names_with)
@click.option("--kept", is_flag=True, help="Also remove kept rings (ingest --name) that no process uses.")
@click.option("--dry-run", is_flag=True, help="Remove nothing; print what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def gc(names: tuple[str, ...], kept: bool, dry_run: bool, as_json: bool) -> int:
    """Remove abandoned rings with their doorbells: all of them, or only each NAME. A ring is abandoned if its creator
    is dead and no live process has one of its roles.

    gc removes a kept ring (ingest --name) only with its NAME or with --kept, because its service would have to load
    everything again. It removes segments of other layout versions and half-made ones if their creator is dead and no
    process has them mapped. If it cannot see this for all processes, it removes them only with their NAME.

    gc looks up processes in this machine's process table. Do not run it in a container that shares the host's shared
    memory but not its processes.
    """
    found = look_at_all(names)
    outcome = _Outcome(failed=[(error.name, str(error)) for error in found.unreadable])
    outcome.failed += [(name, missing_text(name)) for name in dict.fromkeys(names) if name not in found.names]
    for stats in found.rings:
        _collect(stats, outcome, named=bool(names), kept=kept, dry_run=dry_run)
    for odd in found.odd:
        _collect_odd(odd, outcome, named=bool(names), kept=kept, dry_run=dry_run)
    if as_json:
        print(json.dumps(_object(outcome, dry_run=dry_run)))
    else:
        _print(outcome, found, dry_run=dry_run)
    return 1 if outcome.failed or outcome.in_use else 0


def _collect(stats: RingStats, outcome: _Outcome, *, named: bool, kept: bool, dry_run: bool) -> None:
    if not is_unused(stats):
        outcome.left += 1
        if named:
            outcome.in_use.append((stats.name, f"ring {stats.name!r} is not removed: {users_text(stats)}"))
        return
    if stats.is_kept and not named and not kept:
        outcome.kept.append(stats.name)
        return
    try:
        gone = stats if dry_run else remove_abandoned(stats.name, kept=True)
    except SegmentError as error:
        if error.reason != "missing":
            outcome.failed.append((error.name, str(error)))
        return
    if gone is not None:
        outcome.removed.append((gone.name, gone.capacity))


def _collect_odd(odd: OddSegment, outcome: _Outcome, *, named: bool, kept: bool, dry_run: bool) -> None:
    if odd.users and named:
        odd = settled_odd_segment(odd.name) or odd
    if odd.users:
        outcome.left += 1
        if named:
            outcome.in_use.append((odd.name, f"{odd_text(odd)}: it is not removed"))
    elif odd.is_kept and not named and not kept:
        outcome.kept.append(odd.name)
    elif odd.mapped_by is None and not named:
        outcome.uncertain.append(odd_text(odd))
    else:
        try:
            if not dry_run:
                odd.remove()
        except SegmentError as error:
            outcome.failed.append((error.name, str(error)))
        else:
            outcome.removed.append((odd.name, odd.size_bytes))


def _object(outcome: _Outcome, *, dry_run: bool) -> dict[str, object]:
    return {
        "removed": [name for name, _ in outcome.removed],
        "bytes": sum(size for _, size in outcome.removed),
        "kept": outcome.kept,
        "in_use": [name for name, _ in outcome.in_use],
        "dry_run": dry_run,
        "failed": [{"name": name, "error": error} for name, error in outcome.failed],
    }


def _print(outcome: _Outcome, found: Found, *, dry_run: bool) -> None:
    did = "would remove" if dry_run else "removed"
    for name, size in outcome.removed:
        print(f"{did} {figures.name(name)} ({figures.size(size)})")
    in_use = f"{figures.plural(outcome.left, 'ring')} in use"
    if outcome.removed:
        total = figures.size(sum(size for _, size in outcome.removed))
        print(f"{did} {figures.plural(len(outcome.removed), 'ring')}, {total}; {in_use}")
    elif found.names or not outcome.failed:
        print(f"nothing to remove; {in_use}")
    if outcome.kept:
        rings = figures.plural(len(outcome.kept), "kept ring")
        print(f"{rings} left for the next start of the service: kevy-ring gc --kept removes those too")
    for text in outcome.uncertain:
        print(f"left: {text}")
    for _, text in (*outcome.in_use, *outcome.failed):
        print(f"kevy-ring: {text}", file=sys.stderr)
