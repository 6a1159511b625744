"""What ``kevy-ring ingest ARGUMENTS`` makes of its arguments, without a run."""

from __future__ import annotations

import inspect

from kevy_ring.cli.ingest.asked import Asked, asked_of
from kevy_ring.cli.ingest.command import ingest

_COMMAND = ingest.callback
assert _COMMAND is not None
#: The options that the command uses itself. It gives all others to ``asked_of``.
OF_THE_COMMAND = {
    name
    for name, parameter in inspect.signature(_COMMAND).parameters.items()
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD
}


def asked(*arguments: str) -> Asked:
    options = ingest.make_context("ingest", list(arguments)).params
    return asked_of(**{name: value for name, value in options.items() if name not in OF_THE_COMMAND})
