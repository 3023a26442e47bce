"""Options are declared once: the command line, Python and the docs say the same of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

import kantor
from kantor.api.evaluation import EvaluateKeywords
from kantor.api.training import TrainKeywords
from kantor.app import units
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.options import Flag, Options, options_of
from kantor.app.sampling.options import SonifyOptions
from kantor.app.training.options import TrainOptions
from kantor.cli.main import app
from kantor.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Example(Options):
    """Options of a job."""

    source: Annotated[str, Flag("Folder of images", positional=True)]
    images: Annotated[int | None, Flag("Take N images", parse=units.count)] = None
    size: Annotated[str | None, Flag("Resize images", sets="data.size")] = None
    compile: Annotated[bool, Flag("Compile", sets="train.compile", on="auto")] = False
    gutter: Annotated[int, Flag("Leave N pixels", min=0, max=9)] = 2
    out: Annotated[Path, Flag("Write here", flags=("--out", "-o"))] = Path("out")
    json: Annotated[bool, Flag("Print JSON", cli_only=True)] = False
    started_s: float = 0.0


def test_options_from_words() -> None:
    options = Example.from_words({"source": "fish", "images": "200k", "out": "there", "size": None})
    assert options == Example(source="fish", images=200_000, out=Path("there"))
    assert Example.from_words({"source": "fish", "json": True}, as_flags=True).json
    assert [option.word for option in options_of(Example)] == [*inspect.signature(Example).parameters][:-1]


def test_fields_of_the_configuration_are_those_that_were_given() -> None:
    assert Example(source="fish").fields == {}
    assert Example(source="fish", size="64", compile=True).fields == {"data.size": "64", "train.compile": "auto"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"images": "lots"}, "images lots: is not a number of images"),
        ({"size": "7"}, "size: data.size: '7' cannot be used; both sides must lie between 8 and 1024"),
        ({"gutter": 10}, "gutter 10: is not a number of at least 0 and at most 9"),
        ({"gutter": "much"}, "gutter much: is not a number"),
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
    declared = {o.word: o for o in options_of(options) if not o.flag.cli_only}
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
    for words in ({"preset": "dcgan"}, {"batch": "auto"}):
        with pytest.raises(ConfigError, match="its own configuration"):
            TrainOptions.from_words({"resume": "latest", **words})
    assert TrainOptions.from_words({"resume": "latest", "preset": "default"}).resume == "latest"


@pytest.mark.parametrize(("mode", "name"), [("grey", "gray"), ("color", "colour"), ("stacked", "stacked")])
def test_both_spellings_of_a_mode(mode: str, name: str) -> None:
    assert SonifyOptions.from_words({"source": "fish", "out": "sounds", "mode": mode}).mode == name


def test_thousands_of_images() -> None:
    assert TrainOptions.from_words({"kimg": 2.5}, as_flags=True).images == 2500
    with pytest.raises(ConfigError, match="--kimg: and --images both set the length"):
        TrainOptions.from_words({"kimg": 2.5, "images": "8"}, as_flags=True)
