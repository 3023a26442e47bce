"""The documentation says what is there: every flag, every field, every link."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from kantor.app.comparison.options import CompareOptions
from kantor.app.dataset.options import PackOptions
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.options import Options, options_of
from kantor.app.sampling.options import (
    ClassesOptions,
    ComposeOptions,
    GenerateOptions,
    PaintOptions,
    SonifyOptions,
    UpscaleOptions,
    WalkOptions,
)
from kantor.app.training.options import TrainOptions
from kantor.cli.main import app
from kantor.config.io import parse_override, resolve
from support.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
HIDDEN = {"--help", "-h"}
OPTIONS = [TrainOptions, PackOptions, GenerateOptions, WalkOptions, ClassesOptions, PaintOptions, SonifyOptions]
OPTIONS += [UpscaleOptions, EvaluateOptions, CompareOptions, ComposeOptions]


def test_every_flag_of_every_command_is_described() -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert f"## {name}\n" in text, name
        section = text.split(f"## {name}\n")[1].split("\n## ")[0]
        below = getattr(command, "commands", {})
        assert all(f"`kantor {name} {sub}" in section for sub in below)
        for option in [*command.params, *(option for sub in below.values() for option in sub.params)]:
            if getattr(option, "hidden", False) or option.param_type_name != "option":
                continue
            for flag in option.opts:
                assert flag in HIDDEN or flag in section, f"{name} {flag}"


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.__name__)
def test_the_tables_of_flags_are_those_of_the_declarations(options: type[Options]) -> None:
    """A row of one option names all its flags, the value and the default; several options may share a row."""
    command = options.__name__.removesuffix("Options").lower()
    section = (ROOT / "docs" / "commands.md").read_text("utf-8").split(f"## {command}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`--[^|]*) \|\s*([^|]*?)\s*\|", section, re.MULTILINE)
    rows_of = {flag: row for row in rows for flag in re.findall(r"--[\w-]+", row[0])}
    for option in options_of(options):
        if option.positional or option.hidden:
            continue
        flags, default = rows_of[option.flags[0]]
        if flags.count("--") > len(option.flags):
            continue
        value = f" {option.metavar}" if option.metavar else ""
        assert flags == ", ".join(f"`{flag}{value}`" for flag in option.flags)
        required, off = option.default is dataclasses.MISSING, option.default is False
        assert default.replace("`", "") == ("required" if required else "off" if off else option.default_text), flags


def test_the_tables_of_fields_are_those_of_the_schema() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "config_reference.py", "--check"])
    assert done.returncode == 0, "run `make docs`: docs/configuration.md is out of date"


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, place = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not place or place in anchors(target.read_text("utf-8")), link


def commands_in(page: Path) -> list[str]:
    """Lines of code blocks that call the program."""
    blocks = re.findall(r"^```(?:\w*)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ").split(" > ")[0] for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("kantor ") and not re.search(r"[\[\]{}]|\.\.\.|   ", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_shown_is_understood(page: Path) -> None:
    """Flags, numbers of arguments, fields and their values: everything but what lies on the disk."""
    group = typer.main.get_command(app)
    for line in commands_in(page):
        _, *words = shlex.split(line.partition("  #")[0])
        command, *rest = words
        context = group.commands[command].make_context(command, list(rest))  # type: ignore[attr-defined]
        fields = dict(parse_override(text) for text in context.params.get("overrides") or [])
        preset = context.params.get("preset") or "default"
        resolve(preset, overrides=fields)


def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    words = ["build", "--strict", "--quiet", "--config-file", ROOT / "mkdocs.yml", "--site-dir", tmp_path / "site"]
    done = subprocess.run([sys.executable, "-m", "mkdocs", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").glob("*.html"))
    assert len(pages) > 10
    for page in pages:
        assert not re.search(r'(?:src|href)="https?://(?!squidfunk|github)', page.read_text("utf-8")), page.name
