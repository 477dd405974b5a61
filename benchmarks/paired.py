"""Rivals take turns in one process, so that what disturbs the machine disturbs them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Run = Callable[[], Array]

# A rival may still spin in its thread pool when the next one starts.
PAUSE = 0.1
# Calls shorter than this are timed in blocks of about this length.
BLOCK = 0.01
# What a contender is run for before its turns are planned. Blocks shorter than that are run once
# before they are timed, so that no one's threads and caches are colder than another's.
WARM = 0.1
# Rounds; a rival whose calls are long (s) may take part in one only.
LEAST, MOST = 5, 21
LONG = 5.0
# First calls up to this long (s) are not taken at their word: Captum's on ResNet-50 takes 8 s, the
# ones behind it 2 to 3.
DOUBTED = 4 * LONG


@dataclass
class Contender:
    """What one engine does; ``task`` says what the result is, for the check."""

    name: str
    task: str
    run: Run
    calls: int = 1  # per turn
    rounds: int = 1  # in which it takes part
    settles: bool = False
    seconds: list[float | None] = field(default_factory=list)  # per call, one per round

    def block(self) -> None:
        for _ in range(self.calls):
            self.run()

    def settle(self) -> None:
        """Before a block: caches and clocks as they are in steady use."""
        time.sleep(PAUSE)
        if self.settles:
            self.block()

    def take_turn(self) -> None:
        self.settle()
        begin = time.perf_counter()
        self.block()
        self.seconds.append((time.perf_counter() - begin) / self.calls)

    def warm_up(self, budget: float) -> Array:
        """One result, untimed. Plans its turns: as many rounds as the budget (s) allows."""
        begin = time.perf_counter()
        result = self.run()
        seconds = time.perf_counter() - begin
        # The first calls may compile something and find caches and clocks cold: a call that looks
        # long would be timed alone, after a pause, and stay as slow.
        end = time.perf_counter() + WARM if seconds < DOUBTED else 0
        while time.perf_counter() < end:
            begin = time.perf_counter()
            self.run()
            seconds = min(seconds, time.perf_counter() - begin)
        self.calls = max(1, math.ceil(BLOCK / seconds)) if seconds < BLOCK else 1
        self.settles = seconds * self.calls < WARM
        turn = PAUSE + seconds * self.calls * (2 if self.settles else 1)
        self.rounds = min(max(int(budget / turn), 1 if seconds > LONG else LEAST), MOST)
        return result


class Turns:
    """One round is a turn of everyone. The subject's are timed by the caller, between before() and
    after(): first in even rounds, last in odd ones.
    """

    def __init__(self, subject: Contender, rivals: Sequence[Contender]) -> None:
        self.subject, self.rivals = subject, rivals
        self.round = 0

    def before(self) -> None:
        if self.round % 2:
            self._rivals(reversed(self.rivals))
        self.subject.settle()

    def after(self) -> None:
        if self.round % 2 == 0:
            self._rivals(self.rivals)
        self.round += 1

    def _rivals(self, order: Iterable[Contender]) -> None:
        for rival in order:
            if self.round < rival.rounds:
                rival.take_turn()
            else:
                rival.seconds.append(None)
