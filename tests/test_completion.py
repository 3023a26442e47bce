"""Completion as a shell asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "import sys; from kantor.cli.main import main; main()"


def offered(words: str, folder: Path, shell: str = "bash") -> list[str]:
    environment = {**os.environ, "_KANTOR_COMPLETE": f"complete_{shell}", "COMP_WORDS": words}
    environment |= {"COMP_CWORD": str(len(words.split(" ")) - 1), "_TYPER_COMPLETE_ARGS": words}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, cwd=folder, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("kantor wa", ["walk"]),
        ("kantor walk --ea", ["--easing"]),
        ("kantor train --preset wgan", ["wgan", "wgan-gp"]),
        ("kantor presets dc", ["dcgan"]),
        ("kantor report runs/00003", ["runs/00003-fish"]),
        ("kantor generate la", ["latest"]),
    ],
)
def test_bash(words: str, wanted: list[str], tmp_path: Path) -> None:
    (tmp_path / "runs" / "00003-fish").mkdir(parents=True)
    (tmp_path / "runs" / "00003-fish" / "config.toml").touch()
    assert offered(words, tmp_path) == wanted


def test_completion_loads_nothing_heavy(tmp_path: Path) -> None:
    code = CODE.replace("main()", "").rstrip("; ") + (
        "\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    environment = {
        **os.environ,
        "_KANTOR_COMPLETE": "complete_bash",
        "COMP_WORDS": "kantor train --preset w",
        "COMP_CWORD": "3",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["wgan", "wgan-gp"]
    assert done.stderr.strip() == "[]"
