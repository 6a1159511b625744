"""The kevy-ring command. Only this package prints and exits."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from kevy_ring import __version__

HELP = """\
Usage: kevy-ring [OPTIONS] COMMAND [ARGS]...

  Replication streams from Redis, Valkey or kevy into Python processes,
  through rings in shared memory.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
  bench       Run the benchmarks of kevy-ring and its rivals.
  completion  Print the completion script of a shell.
  gc          Remove abandoned rings.
  ingest      Follow upstreams into shard processes.
  inspect     Show one ring and the records in it.
  ls          List all rings of this machine.
  primary     Serve an embedded upstream to follow.
  replay      Apply the dead letters of a run to its sink.
  top         Watch all rings of this machine, live.

The commands need pip install 'kevy-ring[cli]'."""

# Every subcommand imports these two. redis and fakeredis are imported where they are used.
_NEEDED = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with ``arguments`` (by default those of the process) and exit with its code.

    0: done, and equal if a comparison was asked for. 1: something is wrong; one line says what. 2: bad usage, or no
    arguments. ``--help`` and ``--version`` need no extra.
    """
    try:
        code = _code(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:
        # The reader of our output closed it. Without this, Python prints an error when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:  # Ctrl-C while the modules of a subcommand are imported, which takes a second
        print("kevy-ring: interrupted", file=sys.stderr)
        code = 1
    sys.exit(code)


def _code(arguments: Sequence[str]) -> int:
    if not arguments and not os.environ.get("_KEVY_RING_COMPLETE"):  # set by a shell that completes a command line
        print(HELP, file=sys.stderr)
        return 2
    if arguments and arguments[0] in ("-h", "--help"):
        print(HELP, flush=True)
        return 0
    if arguments and arguments[0] == "--version":
        print(f"kevy-ring, version {__version__}", flush=True)
        return 0
    try:
        from kevy_ring.cli.command import run
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        print(f"kevy-ring: {package} is not installed; pip install 'kevy-ring[cli]'", file=sys.stderr)
        return 1
    return run(arguments)
