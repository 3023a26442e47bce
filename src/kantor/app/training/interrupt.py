"""Ctrl-C and other signals, which end training with everything saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Self

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138}


class Interrupt:
    """Context in which the first signal asks training to end after the current cycle, with everything saved.

    Args:
        names: signals to handle; those that the system lacks, or that are ignored (nohup), stay as they are.
        too_early: called with the exit code until `saves` is set, which says that training has begun; has to raise.
        second: handler of further signals.

    Attributes:
        code: exit code of the signal; 0 before one arrives.
        name: of the signal: "SIGINT" for Ctrl-C; "" before one arrives.
    """

    def __init__(
        self, names: Iterable[str], too_early: Callable[[int], None], second: Callable[..., Any] | signal.Handlers
    ) -> None:
        self.saves, self.code, self.name = False, 0, ""
        self._too_early, self._second = too_early, second
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
            handlers = {number: signal.getsignal(number) for number in numbers}
            self._before = {number: old for number, old in handlers.items() if old is not signal.SIG_IGN}

    def stop_asked(self) -> str:
        """Why training should stop: the name of the signal; "" if it should not."""
        return self.name

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._on)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self.code = EXIT_CODES[self.name]
        for handled in self._before:
            signal.signal(handled, self._second)
        if not self.saves:
            self._too_early(self.code)
