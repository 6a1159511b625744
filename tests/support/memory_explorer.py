"""All behaviours that C11 allows for a few threads of a few steps each, found by trying every one.

weak_memory.py says what a step may do. Threads are generators of steps. The explorer tries every order of the threads
and every result of each step, each state once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from weak_memory import State, Step, WeakMemory, Wrong, replaced

Program = Callable[[], Generator[Step, Any, Any]]
Place = tuple[State, tuple[int, ...]]  # the memory, and the place of each thread
DEAD = "dead"


@dataclass
class Found:
    """The result of an exploration: the first error, or all possible ends."""

    wrong: str | None
    pairs: set[tuple[tuple[Any, ...], tuple[Any, ...]]]  # results of the threads, last values of the words and cells
    states: int

    @property
    def outcomes(self) -> set[tuple[Any, ...]]:
        return {results for results, _ in self.pairs}

    @property
    def finals(self) -> set[tuple[Any, ...]]:
        return {values for _, values in self.pairs}


class Explorer:
    """Threads over words and cells. `mortal` threads may die before any step, and die after their last one. The kernel
    then stores DEAD into the word that is named for the thread, after all its steps, as a release store."""

    def __init__(
        self,
        words: Mapping[str, Any],
        cells: Mapping[str, Any],
        threads: Mapping[str, Program],
        mortal: Mapping[str, str] | None = None,
    ) -> None:
        self.names, self.programs = list(threads), list(threads.values())
        self.memory = WeakMemory([*words, *cells], self.names)
        self.initial = [*words.values(), *cells.values()]
        self.mortal = {self.names.index(name): word for name, word in (mortal or {}).items()}
        self.nodes: list[tuple[Step | None, Any]] = []  # the next step and, at the end, the result
        self.histories: list[tuple[Any, ...]] = []
        self.known: dict[Any, int] = {}
        self.moves: dict[tuple[int, Any], int] = {}

    # The place of a thread: its generator's frames and their variables. So a program keeps all its state in them (a
    # `for` loop needs a variable that differs in each turn). A generator cannot be copied. So for every new place it
    # runs again from its start, with the values that it got.

    def node(self, thread: int, history: tuple[Any, ...]) -> int:
        generator = self.programs[thread]()
        try:
            step: Step | None = next(generator)
            for value in history:
                step = generator.send(value)
            place: list[Any] = [thread]
            frame: Any = generator
            while frame is not None:
                place += [frame.gi_code, frame.gi_frame.f_lasti, tuple(sorted(frame.gi_frame.f_locals.items()))]
                frame = frame.gi_yieldfrom
            result = None
        except StopIteration as end:
            step, result, place = None, end.value, [thread, "done", end.value]
        return self.intern(tuple(place), step, result, history)

    def intern(self, place: Any, step: Step | None, result: Any, history: tuple[Any, ...]) -> int:
        if place not in self.known:
            self.known[place] = len(self.nodes)
            self.nodes.append((step, result))
            self.histories.append(history)
        return self.known[place]

    def went(self, at: tuple[int, ...], thread: int, value: Any) -> tuple[int, ...]:
        key = (at[thread], value)
        if key not in self.moves:
            self.moves[key] = self.node(thread, (*self.histories[key[0]], value))
        return replaced(at, thread, self.moves[key])

    def expand(self, state: State, at: tuple[int, ...]) -> list[Place]:
        steps = [(thread, self.nodes[node][0]) for thread, node in enumerate(at)]
        # Views find a race in any order of the two accesses, so a plain access is tried only in one order: at once.
        plain = [pair for pair in steps if pair[1] and pair[1].order == "plain" and pair[0] not in self.mortal]
        found: list[Place] = []
        for thread, step in plain[:1] or steps:
            if step is not None:
                results = self.memory.results(state, thread, step)
                found += [(after, self.went(at, thread, value)) for after, value in results]
            if thread in self.mortal and self.nodes[at[thread]][1] != DEAD:
                claim = self.memory.index[self.mortal[thread]]
                marked = self.memory.stored(state, thread, "release", claim, len(state.words[claim]), DEAD)
                assert marked is not None
                found.append((marked, replaced(at, thread, self.intern((thread, DEAD), None, DEAD, ()))))
        return [(self.memory.settled(after, self.live(nodes)), nodes) for after, nodes in found]

    def live(self, at: tuple[int, ...]) -> list[int]:
        return [thread for thread, node in enumerate(at) if self.nodes[node][0]]

    def run(self, limit: int = 2_000_000) -> Found:
        """Errors are: a failed claim of a thread, a race, and threads that wait without end."""
        pairs: set[tuple[tuple[Any, ...], tuple[Any, ...]]] = set()
        waiting: list[Place] = []
        seen: set[Place] = set()
        try:
            waiting.append(
                (self.memory.start(self.initial), tuple(self.node(i, ()) for i in range(len(self.programs))))
            )
            while waiting:
                place = waiting.pop()
                if place in seen:
                    continue
                seen.add(place)
                assert len(seen) < limit, "too many states to try all of them"
                following = self.expand(*place)
                waiting += following
                if not following:
                    pairs.add(self.end(*place))
        except Wrong as wrong:
            return Found(str(wrong), pairs, len(seen))
        return Found(None, pairs, len(seen))

    def end(self, state: State, at: tuple[int, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        for thread in self.live(at):
            step = self.nodes[at[thread]][0]
            raise Wrong(f"{self.names[thread]} waits for {step.name if step else None} for ever")
        return tuple(self.nodes[node][1] for node in at), tuple(entries[-1].value for entries in state.words)
