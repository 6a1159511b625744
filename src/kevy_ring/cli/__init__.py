"""The kevy-ring command. Printing and exiting live here and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

# What the command itself cannot do without; redis, fakeredis and rdb-py are asked for where they are used.
_NEEDED = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with ``arguments`` (those of the process by default) and exit with its code.

    0: done, and verified where that was asked for; 1: it ran and something is wrong, said in one line; 2: bad usage.
    """
    try:
        from kevy_ring.cli.command import run
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        print(f"kevy-ring: {error.name} is not installed; pip install 'kevy-ring[cli]'", file=sys.stderr)
        sys.exit(1)
    sys.exit(run(arguments))
