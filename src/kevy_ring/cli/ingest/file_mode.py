"""The permissions of files as a parameter of the command: ``0640``, ``600``."""

from __future__ import annotations

from typing import Any

import click


class FileMode(click.ParamType):  # type: ignore[type-arg, unused-ignore] # generic in newer versions of click
    """Permissions in octal. The owner reads and writes; nobody executes."""

    name = "MODE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            mode = int(value, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777 or mode & 0o111 or mode & 0o600 != 0o600:
            self.fail(f"{value!r} is no mode of files to write: 0600, 0640, 0644, 0660, ...", param, ctx)
        return mode
