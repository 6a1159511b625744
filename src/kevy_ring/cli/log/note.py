"""Something that happened in a run, with its facts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The process of the command itself, which supervises the others.
COMMAND = "ingest"


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the log.

    ``event``: what happened, as a word for programs; ``facts``: its fields, plain values. ``shard``: which shard it is
    about. ``process``: which process it comes from, ``"ingest"``, ``"runner"`` or ``"shard"``, and ``pid`` is its pid
    (None: this process). ``report``: the text of the ``note`` object that ``--json`` writes; empty: none.
    """

    text: str
    level: int = logging.INFO
    event: str = "note"
    shard: int | None = None
    process: str = COMMAND
    pid: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    report: str = ""
