"""The public calls that docs/reference lists."""

from __future__ import annotations

import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from places import DOCS

REFERENCE = DOCS / "reference"


@dataclass(frozen=True)
class Call:
    """A public class, function or method. ``owner``: its class, else None."""

    name: str
    found: Any
    owner: type | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.found) or ""


def in_the_reference() -> list[tuple[Path, str]]:
    return [
        (path, name)
        for path in sorted(REFERENCE.glob("*.md"))
        for name in re.findall(r"^::: (\S+)", path.read_text("utf-8"), re.M)
        if name != "kevy_ring.errors"
    ]


def named(name: str) -> Any:
    module, _, rest = name.rpartition(".")
    try:
        return getattr(import_module(module), rest)
    except ModuleNotFoundError:
        return getattr(named(module), rest)


def is_value(found: Any) -> bool:
    """A class of plain values: no call that needs an example."""
    return inspect.isclass(found) and (is_dataclass(found) or issubclass(found, (enum.Enum, Exception)))


def methods(owner: type, name: str) -> Iterator[Call]:
    for key in dir(owner):
        home = next((each for each in owner.__mro__ if key in vars(each)), object)
        if key.startswith("_") or not home.__module__.startswith("kevy_ring"):
            continue
        member = vars(home)[key]
        member = getattr(member, "__func__", member)
        if isinstance(member, property):
            member = member.fget
        if callable(member) and not inspect.isclass(member):
            yield Call(f"{name}.{key}", member, owner)


def all_calls() -> list[Call]:
    found: dict[str, Call] = {}
    for _, name in in_the_reference():
        item = named(name)
        found[name] = Call(name, item)
        if inspect.isclass(item) and not issubclass(item, (enum.Enum, Exception)):
            found |= {call.name: call for call in methods(item, name)}
    return list(found.values())


def docstring_examples(doc: str) -> list[str]:
    """The indented blocks of a docstring."""
    blocks = re.findall(r"(?:^\n)((?:^ {4}.*\n?(?:^\n(?= {4}))*)+)", doc + "\n", re.M)
    return [textwrap.dedent(block).strip() for block in blocks]
