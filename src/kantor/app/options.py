"""Options of jobs: each is declared once, as a field of a dataclass, for the command line, Python and the docs.

count: int = option("Generate N images", "N", default=64, min=1)
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from kantor.app import units
from kantor.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True)
class Option:
    """How a user gives a field of an options class: what `option` declares, completed by `options_of`.

    Attributes:
        name: of the field; type: of its value; default: MISSING if it is required, None if it is made.
        word: keyword in Python, the name if none is declared.
        flags: spellings on the command line, one made from the word if none is declared.
        help: what the option does: verb first, one clause.
        metavar: what stands for the value in the help; "" for a switch.
        sets: dotted field of the configuration that the value goes to.
        parse: (value, where) -> value of the field, from text (command line) or from what Python gives.
        repeat: may be given several times on the command line.
        min, max: bounds, inclusive.
        otherwise: what happens without it, in a few words, where the default does not say so.
        complete: the function of kantor.cli.completion that offers values.
        positional: an argument without a flag.
        hidden: left out of the help.
        cli_only: not a keyword in Python.
    """

    name: str
    type: Any
    default: Any
    word: str
    flags: tuple[str, ...]
    help: str
    metavar: str
    sets: str = ""
    parse: Callable[[Any, str], Any] | None = None
    repeat: bool = False
    min: float | None = None
    max: float | None = None
    otherwise: str = ""
    complete: str = ""
    positional: bool = False
    hidden: bool = False
    cli_only: bool = False

    @property
    def default_text(self) -> str:
        """What happens without the option; "" if that goes without saying."""
        if self.otherwise or isinstance(self.default, bool):
            return self.otherwise
        if isinstance(self.default, int | float):
            return f"{self.default:,}" if isinstance(self.default, int) else f"{self.default:g}"
        return str(self.default) if isinstance(self.default, str | Path) else ""

    def read(self, value: Any, where: str) -> Any:
        """The value of the field. Raises ConfigError, with `where` in it, if `value` cannot be used."""
        types = {self.type, *get_args(self.type)}
        if self.parse is not None:
            value = self.parse(value, where)
        elif Path in types:
            value = Path(value)
        elif types & {int, float} and str not in types:
            value = units.number(value, where, int in types, self.min, self.max)
        if get_origin(self.type) is Literal and value not in get_args(self.type):
            raise ConfigError(f"{where} {value}", "is not one of its values", nearest(str(value), get_args(self.type)))
        if self.sets:
            _check_field(self.sets, value, where)
        return value


def option(
    help: str, metavar: str = "", required: bool = False, default: Any = None, default_factory: Any = None, **more: Any
) -> Any:
    """A field of an options class; `more` are attributes of its `Option`."""
    declared = {"option": {"help": help, "metavar": metavar, **more}}
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata=declared)
    return dataclasses.field(default=MISSING if required else default, metadata=declared)


class Options:
    """Base of the option classes, which are frozen dataclasses."""

    @classmethod
    def from_words(cls, words: Mapping[str, Any], as_flags: bool = False) -> Self:
        """Options from what a user wrote: keywords with values, of which None stands for the default.

        Raises ConfigError if a value cannot be used, TypeError if there is no such keyword. as_flags: errors name the
        flag, not the keyword.
        """
        declared = {o.word: o for o in options_of(cls) if as_flags or not o.cli_only}
        for word in words.keys() - declared.keys():
            raise TypeError(f"there is no argument {word!r}; {nearest(word, declared)}")
        given = {declared[word]: value for word, value in words.items() if value is not None}
        return cls(**{o.name: o.read(value, o.flags[0] if as_flags else o.word) for o, value in given.items()})

    @property
    def fields(self) -> dict[str, Any]:
        """Dotted fields of the configuration that these options set. A switch that is off sets none."""
        values = {o.sets: getattr(self, o.name) for o in options_of(type(self)) if o.sets}
        return {name: value for name, value in values.items() if value is not None and value is not False}


def describe(function: Callable[..., Any], cls: type[Options]) -> None:
    """Gives a function of `**options` the keywords of `cls`: in its signature, and for {options} in its docstring."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    lines, keywords = [], []
    for option in options_of(cls):
        if option.positional or option.cli_only or option.word in signature.parameters:
            continue
        keywords.append(inspect.Parameter(option.word, inspect.Parameter.KEYWORD_ONLY, default=option.default))
        default = f" [default: {option.default_text}]" if option.default_text else ""
        lines.append(f"{option.word}: {option.help[0].lower()}{option.help[1:]}{default}.")
    function.__dict__["__signature__"] = signature.replace(parameters=[*own, *keywords])
    function.__doc__ = (function.__doc__ or "").replace("{options}", "\n        ".join(lines))


def options_of(cls: type) -> tuple[Option, ...]:
    """What a class of options declares: its own fields, then those of its bases, each in order."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    types = get_type_hints(cls)
    names = dict.fromkeys(name for owner in cls.__mro__ for name in inspect.get_annotations(owner))
    options = []
    for name in names:
        if (declared := fields[name].metadata.get("option")) is not None:
            word = declared.get("word", name)
            spelt = {"word": word, "flags": (f"--{word.replace('_', '-')}",), **declared}
            default = fields[name].default if fields[name].default_factory is MISSING else None
            options.append(Option(name=name, type=types[name], default=default, **spelt))
    return tuple(options)


def _check_field(name: str, value: Any, where: str) -> None:
    """Checks one field of the configuration by itself, so that an error names the flag."""
    from kantor.config.io import layered
    from kantor.config.schema import Config

    section, _, field = name.partition(".")
    try:
        layered(Config(), {section: {field: value}}, where)
    except ConfigError as error:
        raise ConfigError(f"{where} {value}", error.what.removeprefix(f"{value!r} "), error.do) from error
