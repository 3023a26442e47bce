"""Options are declared once: the command line, Python and the docs say the same of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import typer

import kantor
from kantor.api.evaluation import EvaluateKeywords
from kantor.api.training import TrainKeywords
from kantor.app import units
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.options import Options, option, options_of
from kantor.app.sampling.options import SonifyOptions
from kantor.app.training.options import TrainOptions
from kantor.cli.main import app, main
from kantor.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Example(Options):
    """Options of a job."""

    source: str = option("Folder of images", required=True, positional=True)
    images: int | None = option("Take N images", parse=units.count)
    size: str | None = option("Resize images", sets="data.size")
    mirror: bool = option("Mirror", default=False, sets="data.mirror")
    gutter: int = option("Leave N pixels", default=2, min=0, max=9)
    width: float = option("Draw N pixels", default=1.0, min=0.5)
    out: Path = option("Write here", default=Path("out"), flags=("--out", "-o"))
    kind: Literal["good", "bad"] = option("Choose", default="good")
    json: bool = option("Print JSON", default=False, cli_only=True)
    started_s: float = 0.0


def test_options_from_words() -> None:
    options = Example.from_words({"source": "fish", "images": "200k", "out": "there", "size": None})
    assert options == Example(source="fish", images=200_000, out=Path("there"))
    assert Example.from_words({"source": "fish", "json": True}, as_flags=True).json
    assert [option.word for option in options_of(Example)] == [*inspect.signature(Example).parameters][:-1]


def test_fields_of_the_configuration_are_those_that_were_given() -> None:
    assert Example(source="fish").fields == {}
    assert Example(source="fish", size="64", mirror=True).fields == {"data.size": "64", "data.mirror": True}
    assert TrainOptions(compile=True).fields == {"train.compile": "auto"}
    assert TrainOptions(batch=4).fields == {"train.batch": 4}
    assert TrainOptions(batch="auto").fields == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"images": "lots"}, "images lots: is not a number; write for example 200000 or 200k"),
        ({"size": "7"}, "size 7: cannot be used; both sides must lie between 8 and 1024"),
        ({"gutter": 10}, "gutter 10: is out of range; choose a number from 0 to 9"),
        ({"gutter": "much"}, "gutter much: is not a whole number; write for example 8"),
        ({"gutter": "1.5"}, "gutter 1.5: is not a whole number"),
        ({"width": 0}, "width 0: is out of range; choose a number of at least 0.5"),
        ({"width": "inf"}, "width inf: is out of range"),
        ({"width": "nan"}, "width nan: is out of range"),
        ({"width": "9" * 400}, f"width {'9' * 400}: is out of range"),
        ({"width": "wide"}, "width wide: is not a number"),
        ({"kind": "god"}, 'kind god: is not one of its values; did you mean "good"?'),
    ],
)
def test_errors_name_the_word_or_the_flag(words: dict[str, Any], says: str) -> None:
    for as_flags, dashes in ((False, ""), (True, "--")):
        with pytest.raises(ConfigError) as caught:
            Example.from_words({"source": "fish", **words}, as_flags)
        assert str(caught.value).startswith(dashes + says)


@pytest.mark.parametrize("word", ["imagse", "json", "started_s"])
def test_words_that_nobody_declared(word: str) -> None:
    with pytest.raises(TypeError, match=f"there is no argument '{word}'"):
        Example.from_words({"source": "fish", word: 1})
    with pytest.raises(TypeError, match='did you mean "batch"'):
        kantor.train(bacth=4)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("function", "options", "keywords"),
    [(kantor.train, TrainOptions, TrainKeywords), (kantor.evaluate, EvaluateOptions, EvaluateKeywords)],
)
def test_python_takes_what_is_declared(function: Any, options: type[Options], keywords: Any) -> None:
    declared = {o.word: o for o in options_of(options) if not o.cli_only}
    parameters = inspect.signature(function).parameters
    assert declared.keys() <= parameters.keys()
    own = {name for name, parameter in parameters.items() if parameter.annotation is not inspect.Parameter.empty}
    assert keywords.__annotations__.keys() == declared.keys() - own
    for word in keywords.__annotations__:
        assert f"    {word}: " in inspect.getdoc(function)  # type: ignore[operator]
        assert parameters[word].default == declared[word].default


def test_commands_take_what_is_declared() -> None:
    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    flags = {flag for option in commands["train"].params for flag in option.opts}
    assert {"--batch", "--set", "--time-budget", "--outdir", "--runs", "--kimg"} <= flags


def test_a_run_resumes_with_its_own_configuration() -> None:
    with pytest.raises(ConfigError, match="its own configuration"):
        TrainOptions.from_words({"resume": "latest", "preset": "dcgan"})
    assert TrainOptions.from_words({"resume": "latest", "preset": "default"}).resume == "latest"


@pytest.mark.parametrize(("mode", "name"), [("grey", "gray"), ("color", "colour"), ("stacked", "stacked")])
def test_both_spellings_of_a_mode(mode: str, name: str) -> None:
    assert SonifyOptions.from_words({"source": "fish", "out": "sounds", "mode": mode}).mode == name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"max_bad": "abc"}, "--max-bad abc: cannot be used; write a fraction, such as 0.05, or a percentage"),
        ({"max_bad": "1..2"}, "--max-bad 1..2: cannot be used; write a fraction, such as 0.05, or a percentage"),
        ({"max_bad": "200%"}, "--max-bad 200%: more than 100%; write a fraction up to 1"),
        ({"fit": "foo"}, "--fit foo: is not one of its values; choose one of: contain, cover, "),
        ({"kimg": "0"}, "--kimg 0: too small; write for example 200, which is 200,000 images"),
        ({"images": "0"}, "--images 0: too small; write for example 200000 or 200k"),
        ({"seed": str(2**63)}, f"--seed {2**63}: is out of range; choose a number from 0 to 9,223,372,036,854,775,807"),
    ],
)
def test_messages_name_the_flag_and_its_value(words: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainOptions.from_words(words, as_flags=True)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("command", ["", "train", "pack", "walk", "evaluate"])
def test_help_shows_no_types_of_python(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    text = capsys.readouterr().out
    assert "--help" in text and not re.search("<bool>|<str>|<=", text)
    assert command != "pack" or "[data]" in text  # not taken for markup


def test_thousands_of_images() -> None:
    assert TrainOptions.from_words({"kimg": 2.5}, as_flags=True).images == 2500
    with pytest.raises(ConfigError, match="--kimg and --images: both set the length; give only one"):
        TrainOptions.from_words({"kimg": 2.5, "images": "8"}, as_flags=True)
