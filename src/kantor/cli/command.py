"""Commands made from option classes: see kantor.app.options."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from kantor.app.options import Option, Options, options_of
from kantor.cli import completion

T = TypeVar("T", bound=Options)


def add_command(app: typer.Typer, options: type[T], run: Callable[[T], int | None]) -> None:
    """Adds a command with the name and help of `run`, and with the flags that `options` declares."""

    def command(**words: Any) -> int | None:
        return run(options.from_words(words, as_flags=True))

    parameters = [_parameter(option) for option in options_of(options)]
    command.__dict__["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = run.__doc__
    app.command(run.__name__)(command)


def _parameter(option: Option) -> inspect.Parameter:
    """What Typer makes a flag, or an argument, of."""
    flag, default = option.flag, option.default
    type_ = flag.type or (str if flag.parse else option.type)
    required = default is dataclasses.MISSING
    if not required and (default is None or flag.parse or flag.type):  # the class fills in its default
        default, type_ = None, type_ | None
    shared: dict[str, Any] = {
        "help": _help(option),
        "metavar": flag.metavar or None,
        "show_default": False,
        "hidden": flag.hidden,
        "min": flag.min,
        "max": flag.max,
        "autocompletion": getattr(completion, flag.complete) if flag.complete else None,
    }
    info = typer.Argument(**shared) if flag.positional else typer.Option(*option.flags, **shared)
    empty = inspect.Parameter.empty
    return inspect.Parameter(
        option.word,
        inspect.Parameter.KEYWORD_ONLY,
        default=empty if required else default,
        annotation=Annotated[type_, info],
    )


def _help(option: Option) -> str:
    """Help with the default; brackets are escaped from rich's markup."""
    default = option.default_text
    return (f"{option.flag.help} [default: {default}]" if default else option.flag.help).replace("[", r"\[")
