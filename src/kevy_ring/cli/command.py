"""The command line as a whole: its subcommands, and how a failure becomes one line and an exit code."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from kevy_ring.cli.completion import completion
from kevy_ring.cli.failure import Failure
from kevy_ring.cli.ingest.command import ingest
from kevy_ring.cli.primary import primary
from kevy_ring.cli.redaction import without_secrets, without_typed_secrets
from kevy_ring.cli.replay import replay
from kevy_ring.cli.rings.collect import gc
from kevy_ring.cli.rings.inspect_ring import inspect
from kevy_ring.cli.rings.ls import ls
from kevy_ring.cli.top.command import top
from kevy_ring.errors import KevyRingError

_TREE = Path(__file__).resolve().parents[3]


# The package prints its own help and version, because it must do so without click.
@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    add_help_option=False,
    no_args_is_help=False,
)
def command() -> None:
    """All subcommands; ``kevy_ring.cli.HELP`` lists them."""


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CASE ...] [--quick] [--json] ...")
def bench(arguments: tuple[str, ...]) -> int:
    """Run the benchmarks, or the cases that are named. They are part of the source tree, not of the package."""
    tree = next((tree for tree in (Path.cwd(), _TREE) if (tree / "bench" / "__main__.py").is_file()), None)
    if tree is None:
        raise Failure("the benchmarks are not in the package: run this in the source tree, or run make bench there")
    sys.path.insert(0, str(tree))
    try:
        return int(importlib.import_module("bench").run(arguments))
    except ModuleNotFoundError as error:
        raise Failure(f"the benchmarks need {error.name}, which is not installed: make bench installs it") from error


for _each in (ingest, replay, primary, bench, ls, inspect, top, gc, completion):
    command.add_command(_each)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. A failure is printed as one line, without secrets."""
    # The views show what the layers below log as notes. Do not let logging print it a second time.
    logging.getLogger("kevy_ring").addHandler(logging.NullHandler())
    logging.getLogger("kevy_ring").propagate = False
    try:
        return int(command.main(arguments, prog_name="kevy-ring", standalone_mode=False) or 0)
    except click.UsageError as error:
        _say_usage(error, sys.argv[1:] if arguments is None else arguments)
        return 2
    except click.ClickException as error:
        return _say(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted")
    except (Failure, KevyRingError) as error:
        return _say(str(error))


def _say(text: str) -> int:
    print(f"kevy-ring: {without_secrets(' '.join(text.split()))}", file=sys.stderr)
    return 1


def _say_usage(error: click.UsageError, arguments: Sequence[str]) -> None:
    if error.ctx is not None:
        print(error.ctx.get_usage(), file=sys.stderr)
    print(f"kevy-ring: {without_typed_secrets(error.format_message(), arguments)}", file=sys.stderr)
