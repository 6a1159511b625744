"""The memory of a C11 program of a few threads, and the possible results of each step.

A machine with views, after Kaiser et al., "Strong Logic for Weak Memory" (ECOOP 2017). A word is the list of all values
that were ever stored there, in modification order. A thread's view says, for every word, how much of that list it must
have seen. A load takes any entry from there on, so a store may be seen late, and two stores in either order. A release
store carries the view of its thread, and an acquire load that reads the store adds that view to its own. Sequentially
consistent accesses are also events of a graph. Its edges are happens-before and the order of each word (also from a
load to the stores that it has not seen). A step that would close a circle is not taken (Lahav et al., "Repairing
Sequential Consistency in C/C++11", PLDI 2017).

Plain cells hold bytes. Two accesses of one cell are a data race if one of them is a write and no view orders them.

The model is weaker than x86-TSO: loads overtake loads, and stores overtake stores. It leaves out two behaviours of C11.
The first is load buffering: here a load never sees a store that comes later in its own thread or depends on it. No
store of the ring depends on a load weaker than acquire (except a stamp's slot, which is read after one). The second are
orders of sequentially consistent accesses that contradict happens-before, which C++20 allows for Power. Neither x86-64
nor aarch64 has them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

View = tuple[int, ...]

ACQUIRES = ("acquire", "acq_rel", "seq_cst")
RELEASES = ("release", "acq_rel", "seq_cst")


class Step(NamedTuple):
    """One access. `change`: the load also writes. `until`: the load takes only some values, as a spin does."""

    kind: str  # load, store, read, write
    name: str
    order: str = "plain"
    value: Any = None
    until: Callable[[Any], bool] | None = None
    change: Callable[[Any], Any] | None = None


def load(word: str, order: str, until: Callable[[Any], bool] | None = None) -> Step:
    return Step("load", word, order, until=until)


def store(word: str, value: Any, order: str) -> Step:
    return Step("store", word, order, value)


def exchange(word: str, change: Callable[[Any], Any], order: str, until: Callable[[Any], bool] | None = None) -> Step:
    """An atomic read-modify-write. Returns the value before it."""
    return Step("load", word, order, until=until, change=change)


def read(cell: str) -> Step:
    return Step("read", cell)


def write(cell: str, value: Any) -> Step:
    return Step("write", cell, value=value)


class Stored(NamedTuple):
    value: Any
    view: View | None  # the view that an acquire load takes over
    glued: bool  # a read-modify-write: no entry may come between it and the one before


class Event(NamedTuple):
    """A sequentially consistent access, as long as another one may still come before it."""

    thread: int
    number: int
    at: int
    position: int
    stores: bool
    before: frozenset[tuple[int, int]]  # thread and number of the events before it


class State(NamedTuple):
    words: tuple[tuple[Stored, ...], ...]
    views: tuple[View, ...]  # words, cells; how often each thread has read each cell; events of each thread
    reads: View  # how often each thread has read each cell
    events: tuple[Event, ...]


class Wrong(Exception):
    """An error in the program under test."""


class WeakMemory:
    def __init__(self, names: Sequence[str], threads: Sequence[str]) -> None:
        self.index = {name: i for i, name in enumerate(names)}
        self.threads = threads
        self.clock = len(names) * (1 + len(threads))

    def start(self, values: Sequence[Any]) -> State:
        none: View = (0,) * (self.clock + len(self.threads))
        return State(tuple((Stored(value, None, False),) for value in values), (none,) * len(self.threads), none, ())

    def results(self, state: State, thread: int, step: Step) -> Iterator[tuple[State, Any]]:
        """Each possible state after the step, and the value that the thread gets."""
        at = self.index[step.name]
        if step.kind in ("read", "write"):
            yield self.plain(state, thread, step, at)
            return
        entries = state.words[at]
        for position in range(state.views[thread][at], len(entries)):
            value, taken, _ = entries[position]
            free = position + 1 == len(entries) or not entries[position + 1].glued
            after: State | None = None
            if step.kind == "store":
                after = self.stored(state, thread, step.order, at, position + 1, step.value) if free else None
                value = None
            elif step.until is None or step.until(value):
                view = raised(state.views[thread], at, position)
                if step.order in ACQUIRES and taken is not None:
                    view = joined(view, taken)
                after = state._replace(views=replaced(state.views, thread, view))
                if step.change is not None:
                    new = step.change(value)
                    after = self.stored(after, thread, step.order, at, position + 1, new, over=True) if free else None
                elif step.order == "seq_cst":
                    after = self.ordered(after, thread, at, position, False)
            if after is not None:
                yield after, value

    def stored(
        self, state: State, thread: int, order: str, at: int, position: int, value: Any, over: bool = False
    ) -> State | None:
        if position < len(state.words[at]):
            state = shifted(state, at, position)
        if order == "seq_cst":
            after = self.ordered(state, thread, at, position, True)
            if after is None:
                return None
            state = after
        view = raised(state.views[thread], at, position)
        entries = state.words[at]
        carried = entries[position - 1].view if over else None  # the view of the entry that a read-modify-write read
        if order in RELEASES:
            carried = joined(view, carried) if carried else view
        entries = (*entries[:position], Stored(value, carried, over), *entries[position:])
        return state._replace(words=replaced(state.words, at, entries), views=replaced(state.views, thread, view))

    def ordered(self, state: State, thread: int, at: int, position: int, stores: bool) -> State | None:
        """One more event. None: the graph would get a circle."""
        view = state.views[thread]
        before: set[tuple[int, int]] = set()
        behind: set[tuple[int, int]] = set()
        for event in state.events:
            seen = view[self.clock + event.thread] >= event.number  # happens before
            if event.at == at and not seen and (stores or event.stores):
                seen = event.position <= position  # the order of the word; a load comes after the store that it reads
                if not seen:
                    behind.add(event[:2])
            if seen:
                before |= {event[:2], *event.before}
        if before & behind:
            return None
        number = view[self.clock + thread] + 1
        event = Event(thread, number, at, position, stores, frozenset(before))
        known = {event[:2], *before}
        events = [
            other._replace(before=other.before | known) if other[:2] in behind or other.before & behind else other
            for other in state.events
        ]
        views = replaced(state.views, thread, raised(view, self.clock + thread, number))
        return state._replace(events=(*events, event), views=views)

    def settled(self, state: State, live: Collection[int]) -> State:
        """Remove the events that have no event before them and never will: no circle can pass through them."""
        views = [state.views[thread] for thread in live]
        while True:
            open_ones = {event[:2] for event in state.events}
            events = tuple(
                event._replace(before=event.before & open_ones)
                for event in state.events
                if event.before & open_ones or any(view[event.at] < event.position for view in views)
            )
            if events == state.events:
                return state
            state = state._replace(events=events)

    def plain(self, state: State, thread: int, step: Step, at: int) -> tuple[State, Any]:
        """A byte has one value: an access that has not seen its last write races with that write."""
        view, entries, threads = state.views[thread], state.words[at], len(self.threads)
        first = len(self.index) + at * threads
        if view[at] != len(entries) - 1:
            raise Wrong(f"a data race: {self.threads[thread]} {step.kind}s {step.name}, not seeing the last write")
        if step.kind == "read":
            mine = first + thread
            count = state.reads[mine] + 1
            views = replaced(state.views, thread, raised(view, mine, count))
            return state._replace(views=views, reads=raised(state.reads, mine, count)), entries[-1].value
        if view[first : first + threads] != state.reads[first : first + threads]:
            raise Wrong(f"a data race: {self.threads[thread]} writes {step.name} while it may still be read")
        words = replaced(state.words, at, (*entries, Stored(step.value, None, False)))
        return state._replace(words=words, views=replaced(state.views, thread, raised(view, at, len(entries)))), None


def raised(view: View, at: int, value: int) -> View:
    return (*view[:at], value, *view[at + 1 :])


def shifted(state: State, at: int, position: int) -> State:
    """Make room in a word's order for a store before others."""

    def moved(view: View) -> View:
        return raised(view, at, view[at] + 1) if view[at] >= position else view

    words = tuple(
        tuple(entry._replace(view=entry.view and moved(entry.view)) for entry in word) for word in state.words
    )
    events = tuple(
        event._replace(position=event.position + 1) if event.at == at and event.position >= position else event
        for event in state.events
    )
    return state._replace(words=words, views=tuple(map(moved, state.views)), events=events)


def joined(one: View, other: View) -> View:
    return tuple(map(max, one, other))


def replaced(items: Sequence[Any], at: int, item: Any) -> tuple[Any, ...]:
    return (*items[:at], item, *items[at + 1 :])
