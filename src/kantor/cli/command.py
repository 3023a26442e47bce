"""Commands made from option classes: see kantor.app.options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from kantor.app.options import Option, options_of
from kantor.cli import completion

MOST_TO_SHOW = 1_000_000  # bounds above it are no help


class Group(TyperGroup):
    """Commands and their shared flags, without types in the help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class GroupWithDefault(Group):
    """Commands of which the first is meant where none is named: `kantor runs DIR` is `kantor runs list DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        completing = ctx.resilient_parsing and not args  # then a command may be what is being typed
        if not completing and (not args or args[0] not in (*self.commands, *ctx.help_option_names)):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


class Command(TyperCommand):
    """A command without types in the help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    """Takes away what Typer shows next to arguments and switches: <str>, <bool>."""
    for param in params:
        if param.metavar is None or param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: ""
        if param.param_type_name == "argument" and param.required:  # MODEL, not {MODEL}
            param.get_usage_pieces = lambda ctx, name=param.metavar + "..." * (param.nargs != 1): [name]
    return params


def add_command(app: typer.Typer, run: Callable[[Any], int | None], name: str = "") -> None:
    """Adds a command with the name, unless `name` is given, and help of `run`, and the flags that its options declare."""
    options = get_type_hints(run)["options"]

    def command(**words: Any) -> int | None:
        return run(options.from_words(words, as_flags=True))

    parameters = [_parameter(option) for option in options_of(options)]
    command.__dict__["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = run.__doc__
    app.command(name or run.__name__, cls=Command)(command)


def _parameter(option: Option) -> inspect.Parameter:
    """What Typer makes a flag, or an argument, of; `Option.read` reads its text, and the class fills in its default."""
    type_: Any = bool if option.type is bool else list[str] if option.repeat else str
    required = option.default is MISSING
    shared: dict[str, Any] = {
        "help": _help(option),
        "metavar": option.metavar or None,
        "show_default": False,
        "hidden": option.hidden,
        "autocompletion": getattr(completion, option.complete) if option.complete else None,
    }
    info = typer.Argument(**shared) if option.positional else typer.Option(*option.flags, **shared)
    return inspect.Parameter(
        option.word,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[type_ if required else type_ | None, info],
    )


def _help(option: Option) -> str:
    """Help with bounds and default; brackets are escaped from rich's markup."""
    notes = []
    if option.min is not None and option.max is not None and option.max <= MOST_TO_SHOW:
        notes.append(f"{option.min:,} to {option.max:,}")
    if option.default_text:
        notes.append(f"default: {option.default_text}")
    text = f"{option.help} [{'; '.join(notes)}]" if notes else option.help
    return text.replace("[", r"\[")
