"""Completion as a shell asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kantor.cli import completion
from kantor.cli.train import called_as
from kantor.config.io import overridden, resolve

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
        ("kantor train --preset wgan", ["wgan", "wgan-gp", "wgan-gp-tuned"]),
        ("kantor presets dc", ["dcgan"]),
        ("kantor report runs/00003", ["runs/00003-fish"]),
        ("kantor generate la", ["latest"]),
        ("kantor runs re", ["rename"]),
        ("kantor runs rename runs/00003", ["runs/00003-fish"]),
        ("kantor compare runs/00003-fish la", ["latest"]),
        ("kantor train --set optimizer.critic.l", ["optimizer.critic.lr="]),
        ("kantor train --set objective.constraint.b", ["objective.constraint.bound="]),
        ("kantor pack x --set data.cro", ["data.crop="]),
        ("kantor pack x --set crit", []),
    ],
)
def test_bash(words: str, wanted: list[str], tmp_path: Path) -> None:
    (tmp_path / "runs" / "00003-fish").mkdir(parents=True)
    (tmp_path / "runs" / "00003-fish" / "config.toml").touch()
    assert offered(words, tmp_path) == wanted


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert "wgan-gp" in " ".join(offered("kantor train --preset wgan-g", tmp_path, shell))
    assert "train.batch=" in " ".join(offered("kantor train --set train.b", tmp_path, shell))


def test_every_field_of_a_section_is_offered_and_accepted() -> None:
    section = resolve("default").train
    names = {f"train.{name}": getattr(section, name) for name in type(section).model_fields}
    assert {f"{name}=" for name in names} == set(completion.fields("train."))
    assert overridden(resolve("default"), names).train == section


def test_completion_loads_nothing_heavy(tmp_path: Path) -> None:
    code = CODE.replace("main()", "").rstrip("; ") + (
        "\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    environment = {
        **os.environ,
        "_KANTOR_COMPLETE": "complete_bash",
        "COMP_WORDS": "kantor train --set train.ba",
        "COMP_CWORD": "3",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["train.batch="]
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("argv0", "on_path", "says"),
    [
        ("/usr/bin/kantor", "/usr/bin/kantor", "kantor"),
        ("kantor", None, "kantor"),
        (".venv/bin/kantor", None, ".venv/bin/kantor"),
        (".venv/bin/kantor", "/usr/bin/kantor", ".venv/bin/kantor"),
        ("/my tools/kantor", None, "'/my tools/kantor'"),
        ("/x/kantor/__main__.py", "/usr/bin/kantor", "python -m kantor"),
        ("/usr/bin/pytest", None, "kantor"),
        ("", None, "kantor"),
    ],
)
def test_how_it_was_called(argv0: str, on_path: str | None, says: str) -> None:
    assert called_as(argv0, on_path) == says


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "kantor", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("kantor ")
