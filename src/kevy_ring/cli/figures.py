"""Counts, sizes, rates, times and bytes as text for people."""

from __future__ import annotations

#: Shown if there is no figure.
NOTHING = "-"
_SIZES = ("B", "KiB", "MiB", "GiB", "TiB")


def count(number: int | None) -> str:
    """``1,234,567``; a dash for None."""
    return NOTHING if number is None else f"{number:,}"


def short(number: float) -> str:
    """At most five characters below 1,000G: ``812``, ``8.1k``, ``81.2k``, ``812k``, ``1.2M``."""
    for unit in ("", "k", "M", "G"):
        if abs(number) < 999.5 or unit == "G":
            break
        number /= 1000
    return f"{number:.0f}{unit}" if unit == "" or number >= 99.95 else f"{number:.1f}{unit}"


def size(number: float) -> str:
    """``512 B``, ``7.9 MiB``."""
    for unit in _SIZES:
        # The limit is not 1023, so that a size never has four digits.
        if number < 999.5 or unit == _SIZES[-1]:
            break
        number /= 1024
    places = 0 if unit == "B" or number >= 99.95 or number == int(number) else 1
    return f"{number:.{places}f} {unit}"


def percent(part: float, whole: float) -> str:
    """``12 %``. More than nothing but less than one per cent is ``<1 %``."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    return "<1 %" if 0 < share < 1 else f"{share:.0f} %"


def seconds(number: float | None) -> str:
    """``0.42 s``, ``12.3 s``, ``3 min 05 s``, ``2 h 07 min``; a dash for None."""
    if number is None:
        return NOTHING
    if number < 9.995:
        return f"{number:.2f} s"
    if number < 99.95:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def moment(number: float) -> str:
    """A bound, which has few digits: ``5 µs``, ``2.5 ms``, ``10 s``."""
    for unit, size in (("µs", 1e-6), ("ms", 1e-3)):
        if number < 1000 * size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g} s"


def age(number: float | None) -> str:
    """In the largest unit only: ``12 s``, ``21 min``, ``3 h``, ``2 d``; a dash for None."""
    if number is None:
        return NOTHING
    for unit, length in (("s", 60), ("min", 60), ("h", 24)):
        if number < length:
            return f"{int(number)} {unit}"
        number /= length
    return f"{int(number)} d"


def text(value: bytes, limit: int = 40) -> str:
    """Bytes for a terminal, safe as :func:`name` is; cut after ``limit`` bytes."""
    shown = name(value[:limit].decode("utf-8", "backslashreplace"))
    return f"'{shown}'" + (f"… ({count(len(value))} bytes)" if len(value) > limit else "")


def name(text: str) -> str:
    """Text from outside, for a terminal: characters that a terminal cannot show or would obey become escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def plural(number: int, one: str, many: str | None = None) -> str:
    """``1 key``, ``2 keys``, ``1,000 keys``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
