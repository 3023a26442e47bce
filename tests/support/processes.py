"""Processes that do not start Python and import torch, which takes seconds: they are forked from one that has."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

_IMPORTED = ["torch._dynamo", "kantor.cli.main", "kantor.cli.terminal", "kantor.app.training.run", "kantor.app.doctor"]


@cache
def _context() -> Any:
    from multiprocessing.forkserver import ensure_running

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        ensure_running()
    return context


class Forked:
    """A process that calls `target(*arguments)` in the current folder and ends with the exit code it returns or raises.

    Args:
        environment: in place of this one's.
    """

    def __init__(
        self, target: Callable[..., Any], *arguments: Any, environment: Mapping[str, str] | None = None
    ) -> None:
        self.stdout, out = multiprocessing.Pipe(duplex=False)
        self.stderr, err = multiprocessing.Pipe(duplex=False)
        surroundings = Path.cwd(), dict(os.environ if environment is None else environment)
        self._process = _context().Process(target=_run, args=(target, arguments, *surroundings, out, err))
        self._process.start()
        out.close()
        err.close()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode  # type: ignore[no-any-return]

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def wait(self, timeout_s: float = 60) -> int | None:
        self._process.join(timeout_s)
        return self.poll()

    def communicate(self, timeout_s: float = 60) -> tuple[str, str]:
        """What it wrote to standard output and error, of less than a pipe holds, once it has ended."""
        assert self.wait(timeout_s) is not None
        return read_all(self.stdout), read_all(self.stderr)


def read_all(pipe: Connection) -> str:
    with os.fdopen(os.dup(pipe.fileno()), encoding="utf-8") as file:
        return file.read()


def doctor_on_a_full_disk() -> None:
    """`kantor doctor`, which finds that all is well, with a standard output that takes nothing."""
    from kantor.cli.main import main

    with Path("/dev/full").open("w") as full, mock.patch("kantor.app.doctor.examine", lambda _: [(True, "x")]):
        os.dup2(full.fileno(), 1)
        main(["doctor"])


def _run(
    target: Callable[..., Any],
    arguments: tuple[Any, ...],
    folder: Path,
    environment: dict[str, str],
    out: Connection,
    err: Connection,
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" makes it ignored
    for number, pipe in ((1, out), (2, err)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.exit(target(*arguments))
