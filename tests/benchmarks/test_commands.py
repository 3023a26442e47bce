"""Whole commands as the benchmarks run them."""

from pathlib import Path

import commands
import pytest

SRC = Path(__file__).parents[2] / "src"


def test_a_command_is_run_from_a_source_folder_and_measured() -> None:
    spent = commands.run(SRC, ["presets"])
    assert "colour-wgan128" in spent.text
    assert spent.cpu_s > 0 and spent.seconds > 0


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="no such command"):
        commands.run(SRC, ["prests"])


def test_numbers_are_those_of_lines_that_begin_with_a_word() -> None:
    text = "cycle 1.5 2\npacking cycle 3 4\ncycle 5 6.25\ncycles 7\n"
    assert commands.Spent(0, 0, text).numbers("cycle") == [[1.5, 2], [5, 6.25]]
