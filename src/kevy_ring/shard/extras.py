"""The optional packages, and the error when one is missing or has an untested version."""

from __future__ import annotations

import re

from kevy_ring.errors import SinkError

#: What the extra ``ingest`` requires. The sinks use private names of fakeredis, so they take tested versions only.
FAKEREDIS = "fakeredis[lua]>=2.40,<2.42"


def missing_extra(sink: str, package: str, why: str = "is not installed") -> SinkError:
    """The error that says how to get ``package``."""
    return SinkError(sink, reason="missing-extra", detail=f"{package} {why}; pip install -U 'kevy-ring[ingest]'")


def check_fakeredis(sink: str) -> None:
    """Refuse a fakeredis that was not tested: raises SinkError (``"untested-version"``, or ``"missing-extra"``)."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and only these sinks need it

    try:
        installed = version("fakeredis")
    except PackageNotFoundError as error:
        raise missing_extra(sink, "fakeredis") from error
    oldest, untested = (_minor(bound) for bound in FAKEREDIS.split(","))
    if not oldest <= _minor(installed) < untested:
        raise SinkError(
            sink,
            reason="untested-version",
            detail=f"fakeredis {installed} is installed, and this kevy-ring was tested only with versions "
            f">={_dotted(oldest)},<{_dotted(untested)}: pip install '{FAKEREDIS}'",
        )


def _minor(text: str) -> tuple[int, ...]:
    """Major and minor number of the first version in ``text``."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else ()


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
