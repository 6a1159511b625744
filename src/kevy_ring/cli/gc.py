"""``kevy-ring gc``: remove the rings that nobody will remove any more."""

from __future__ import annotations

import json
import sys

import click

from kevy_ring.cli import figures
from kevy_ring.cli.ls import look_at_all
from kevy_ring.errors import SegmentError
from kevy_ring.ring.leftovers import is_abandoned, remove_abandoned


@click.command(short_help="Remove abandoned rings.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def gc(names: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Remove every ring (or only those NAMEd) whose creator and both of whose roles are dead, with its doorbells; never
    a live one.

    Processes are told dead by this machine's process table: do not run it in a container whose shared memory is the
    host's and whose processes are not.
    """
    found, unreadable = look_at_all(names)
    removed, failed = [], list(unreadable)
    for stats in filter(is_abandoned, found):
        try:
            gone = stats if dry_run else remove_abandoned(stats.name)
        except SegmentError as error:
            if error.reason != "missing":
                failed.append(error)
            continue
        if gone is not None:
            removed.append(gone)
    total = sum(stats.capacity for stats in removed)
    if as_json:
        gone_names = [stats.name for stats in removed]
        faults = [{"name": fault.name, "error": str(fault)} for fault in failed]
        print(json.dumps({"removed": gone_names, "bytes": total, "dry_run": dry_run, "failed": faults}))
    else:
        did = "would remove" if dry_run else "removed"
        for stats in removed:
            print(f"{did} {stats.name} ({figures.size(stats.capacity)})")
        kept = len(found) - len(removed)
        rings = f"{did} {figures.plural(len(removed), 'ring')}, {figures.size(total)}"
        print(f"{rings}; {figures.plural(kept, 'ring')} kept" if removed else f"nothing to remove; {kept} kept")
        for fault in failed:
            print(f"kevy-ring: {fault}", file=sys.stderr)
    return 1 if failed else 0
