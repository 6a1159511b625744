"""``kevy-ring bench``: runs the benchmarks of the source tree that this package is installed from."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from kevy_ring.cli.failure import Failure

_TREE = Path(__file__).resolve().parents[3]


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CASE ...] [--quick] [--json] ...")
def bench(arguments: tuple[str, ...]) -> int:
    """Run the benchmarks, or the cases that are named. They are part of the source tree, not of the package."""
    tree = next((tree for tree in (Path.cwd(), _TREE) if (tree / "bench" / "__main__.py").is_file()), None)
    if tree is None:
        raise Failure("the benchmarks are in the source tree: run this there, or: make bench")
    sys.path.insert(0, str(tree))
    try:
        run = importlib.import_module("bench").run
        return int(run(arguments))
    except ModuleNotFoundError as error:
        raise Failure(f"the benchmarks need {error.name}: make bench installs it") from error
