"""Draws the pictures of the documentation: ``python docs/drawings/draw.py`` writes them beside this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drawing import WIDTH, Drawing

HERE = Path(__file__).resolve().parent


def overview() -> Drawing:
    """Who takes part, from the upstream to the store."""
    d = Drawing(
        262,
        "From an upstream into a shard",
        "A runner process follows an upstream over TCP and sends into a ring in shared memory, with an overflow of its "
        "own. A shard process drains the ring and applies the events to its store.",
    )
    d.box(4, 66, 112, 76)
    d.words(60, 99, "upstream", kind="middle head")
    d.words(60, 122, "Redis, kevy", kind="middle soft")
    d.arrow((116, 104), (168, 104))
    d.words(142, 92, "TCP", kind="middle soft")
    d.box(168, 20, 140, 206, round_by=10)
    d.words(238, 46, "runner", kind="middle head")
    d.words(238, 248, "a process", kind="middle soft")
    d.box(184, 82, 108, 44)
    d.words(238, 110, "send", kind="middle")
    d.box(184, 160, 108, 44, "waits")
    d.words(238, 188, "overflow", kind="middle")
    d.arrow((238, 126), (238, 160))
    d.arrow((292, 104), (342, 104))
    d.arrow((292, 182), (401, 182), (401, 130))
    d.words(410, 180, "pump", kind="soft")
    d.box(342, 78, 118, 52, "space")
    for x in (352, 376, 400):
        d.box(x, 88, 24, 32, "sent", round_by=0)
    d.words(401, 46, "ring", kind="middle head")
    d.words(401, 68, "shared memory", kind="middle soft")
    d.arrow((460, 104), (510, 104))
    d.box(510, 20, 126, 206, round_by=10)
    d.words(573, 46, "shard", kind="middle head")
    d.words(573, 248, "a process", kind="middle soft")
    d.box(524, 82, 98, 44)
    d.words(573, 110, "apply", kind="middle")
    d.arrow((573, 126), (573, 160))
    d.box(524, 160, 98, 44, "taken")
    d.words(573, 188, "store", kind="middle")
    return d


def segment() -> Drawing:
    """The file, and how it is mapped: the data area twice, so that no record wraps."""
    d = Drawing(
        420,
        "The segment and its mapping",
        "The file holds a header page and the data area. The data area is mapped twice, back to back, so the records "
        "between head and tail are contiguous in memory even where they wrap in the file.",
    )
    d.words(4, 20, "the file in /dev/shm", kind="head")
    d.box(4, 34, 120, 48)
    d.words(64, 64, "header page", kind="middle")
    d.box(124, 34, 240, 48, "space", round_by=0)
    d.box(124, 34, 60, 48, "sent", round_by=0)
    d.box(304, 34, 60, 48, "sent", round_by=0)
    d.words(244, 64, "data area", kind="middle")
    d.words(384, 54, "here the records wrap:", "they end at the front", kind="soft")
    d.words(4, 142, "the mapping", kind="head")
    d.box(4, 156, 120, 60)
    d.words(64, 192, "header page", kind="middle")
    for x in (156, 396):
        d.box(x, 156, 240, 60, "space", round_by=0)
    d.box(336, 156, 120, 60, "sent", round_by=0)
    d.line((396, 156), (396, 216), kind="dashed")
    d.words(246, 192, "data", kind="middle")
    d.words(546, 192, "data again", kind="middle")
    d.line((124, 82), (156, 156), kind="dashed")
    d.line((364, 82), (396, 156), kind="dashed")
    d.line((364, 82), (636, 156), kind="dashed")
    d.mark(336, 218, "head")
    d.mark(456, 218, "tail")
    d.words(486, 256, "in one piece here", kind="soft")
    d.words(4, 296, "in the header page", kind="head")
    d.words(
        4,
        320,
        "head and tail, two claims (who holds which role),",
        "the resume point, time stamps, counters, words for you",
    )
    d.words(4, 376, "beside the file", kind="head")
    d.words(4, 400, "two doorbells, for data and for space: FIFOs that select can watch")
    return d


def _strip(d: Drawing, y: float, number: int, name: str, *explained: str) -> None:
    """One step of a record's life: its name on the left, the empty ring on the right."""
    d.words(4, y + 24, f"{number}  {name}", kind="head")
    d.words(4, y + 106, *explained, kind="soft")
    d.box(150, y, WIDTH - 154, 40, "space", round_by=0)


def record() -> Drawing:
    """The life of record B, in five steps; A was published before."""
    d = Drawing(
        672,
        "The life of a record",
        "Reserve, commit, publish, drain, release: what each step moves, and who sees the record after it.",
    )
    step = 136
    a, b, end = 190, 300, 440

    def records(y: float, *shown: tuple[float, float, str, str]) -> None:
        for x, to, kind, name in shown:
            d.box(x, y, to - x, 40, kind, round_by=0)
            d.words((x + to) / 2, y + 26, name, kind="middle")

    y = 4.0
    _strip(d, y, 1, "reserve", "The producer gets space after the tail, and writes in place.")
    records(y, (a, b, "sent", "A"), (b, 500, "grant", "space for B"))
    d.mark(a, y + 42, "head")
    d.mark(b, y + 42, "tail")
    y += step
    _strip(d, y, 2, "commit", "B is staged. If the producer dies now, B was never there.")
    records(y, (a, b, "sent", "A"), (b, end, "waits", "B"))
    d.mark(a, y + 42, "head")
    d.mark(b, y + 42, "tail")
    d.mark(end, y + 42, "staged")
    y += step
    _strip(d, y, 3, "publish", "One store of the tail reveals what is staged. Then the bell, if requested.")
    records(y, (a, b, "sent", "A"), (b, end, "sent", "B"))
    d.mark(a, y + 42, "head")
    d.mark(end, y + 42, "tail")
    y += step
    _strip(d, y, 4, "drain", "The consumer reads A and B where they lie: a batch of views.")
    records(y, (a, b, "taken", "A"), (b, end, "taken", "B"))
    d.box(a, y, end - a, 40, "held")
    d.mark(a, y + 42, "head")
    d.mark(end, y + 42, "tail")
    y += step
    _strip(d, y, 5, "release", "One store of the head gives the space back, if no view is left.")
    d.mark(end, y + 42, "head = tail")
    return d


def overflow() -> Drawing:
    """What a send does when the ring is full."""
    d = Drawing(
        470,
        "The ring and the overflow",
        "While the ring has room an event is written in place. When it is full, events go in order to the overflow in "
        "the sender's process, and a pump moves them into the ring as space appears.",
    )
    d.words(4, 20, "the ring has room, and the overflow is empty", kind="head")
    d.words(4, 62, "send 8")
    d.arrow((64, 56), (112, 56))
    d.box(112, 32, 408, 48, "space", round_by=0)
    d.cells(332, 38, ["8", "7", "6", "5"], "sent", width=46)
    d.arrow((520, 56), (560, 56))
    d.words(566, 62, "drain 5")
    d.words(332, 104, "8 is written in place", kind="soft")
    d.line((4, 130), (WIDTH - 4, 130), kind="dashed")
    d.words(4, 162, "the ring is full: the shard is slow, or stopped", kind="head")
    d.box(4, 180, 330, 216, round_by=10)
    d.words(318, 204, "the runner's process", kind="end soft")
    d.words(18, 248, "send 17")
    d.arrow((84, 242), (118, 242))
    d.box(118, 222, 200, 40, "space", round_by=0)
    d.cells(122, 224, ["17", "16", "15", "14"], "waits", width=48)
    d.words(118, 286, "the overflow: blocks", "of 1 MiB, as needed", kind="soft")
    d.box(118, 328, 200, 48)
    d.words(218, 358, "pump, a thread", kind="middle")
    d.arrow((306, 262), (306, 328))
    d.line((318, 352), (352, 352), (352, 242))
    d.arrow((352, 242), (380, 242))
    d.box(380, 218, 200, 48, "space", round_by=0)
    d.cells(384, 224, ["13", "12", "11", "10"], "sent", width=48)
    d.arrow((580, 242), (624, 242))
    d.words(480, 290, "full", kind="middle soft")
    d.words(370, 332, "the pump moves them as", "the shard drains. It needs", "no further send", kind="soft")
    d.words(4, 424, "The order holds: while the overflow is not empty, each new event")
    d.words(4, 446, "goes to its end. You can see its size, and watch it.")
    return d


def takeover() -> Drawing:
    """Two deaths, and where the successor resumes."""
    d = Drawing(
        656,
        "Takeover",
        "When a runner is killed, its successor reads the resume point from the header and asks the upstream for what "
        "comes next. When a shard is killed, its successor sees again what was not released.",
    )
    width = 44.0
    d.words(4, 20, "the runner is killed", kind="head")
    d.words(4, 62, "before")
    end = d.cells(110, 38, range(5, 9), "sent", width=width)
    d.cells(end + 30, 38, range(9, 12), "waits", width=width)
    d.words(110, 98, "published", kind="soft")
    d.words(end + 30, 98, "in its overflow", kind="soft")
    d.cross(550, 56)
    d.words(4, 146, "what is left")
    d.cells(110, 122, range(5, 9), "sent", width=width)
    d.cells(end + 30, 122, ["", "", ""], "grant", width=width)
    d.mark(end, 160, "resume point: 8")
    d.words(end + 120, 198, "the overflow died with it", kind="soft")
    d.words(4, 246, "successor")
    d.cells(110, 222, range(5, 9), "sent", width=width)
    d.cells(end + 30, 222, range(9, 14), "sent", width=width)
    d.words(110, 282, "asks the upstream for what comes after 8:", "each event once, in order", kind="soft")
    d.line((4, 326), (WIDTH - 4, 326), kind="dashed")
    d.words(4, 360, "the shard is killed", kind="head")
    d.words(4, 402, "before")
    d.cells(110, 378, range(5, 9), "taken", width=width)
    d.box(110, 378, 4 * width, 36, "held")
    d.cells(end, 378, range(9, 12), "sent", width=width)
    d.words(110, 438, "drained, not released: 5 and 6 are stored already", kind="soft")
    d.cross(550, 396)
    d.words(4, 486, "what is left")
    d.cells(110, 462, range(5, 12), "sent", width=width)
    d.mark(110, 500, "head")
    d.words(150, 538, "everything is still in the ring", kind="soft")
    d.words(4, 586, "successor")
    d.cells(110, 562, range(5, 7), "grant", width=width)
    d.cells(110 + 2 * width, 562, range(7, 12), "taken", width=width)
    d.words(110, 622, "sees 5 and 6 again; a sink that keeps its offset with", "its data skips them", kind="soft")
    return d


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "overview": overview,
    "segment": segment,
    "record": record,
    "overflow": overflow,
    "takeover": takeover,
}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (HERE / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
