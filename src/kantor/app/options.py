"""Options of jobs: each is declared once, as a field of a dataclass, for the command line, Python and the docs.

count: Annotated[int, Flag("Generate this many images", min=1)] = 64
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args, get_type_hints

from kantor.app import units
from kantor.errors import nearest


@dataclass(frozen=True)
class Flag:
    """How a user gives the field of an options class that it annotates.

    Attributes:
        help: what the option does: verb first, one clause.
        flags: spellings on the command line; () makes one from the word.
        word: keyword in Python; "" is the name of the field.
        metavar: what stands for the value in the help; "" names its type.
        sets: dotted field of the configuration that the value goes to.
        on: what a switch sets there.
        parse: (value, where) -> value of the field, from text (command line) or from what Python gives.
        type: what the command line takes, where the field holds something else.
        min, max: bounds, inclusive.
        default: what happens without it, in a few words, where the default of the field does not say so.
        complete: the function of kantor.cli.completion that offers values.
        positional: an argument without a flag.
        hidden: left out of the help.
        cli_only: not a keyword in Python.
    """

    help: str
    flags: tuple[str, ...] = ()
    word: str = ""
    metavar: str = ""
    sets: str = ""
    on: Any = True
    parse: Callable[[Any, str], Any] | None = None
    type: Any = None
    min: float | None = None
    max: float | None = None
    default: str = ""
    complete: str = ""
    positional: bool = False
    hidden: bool = False
    cli_only: bool = False


@dataclass(frozen=True)
class Option:
    """A declared option.

    Attributes:
        name: of the field; type: of its value; default: dataclasses.MISSING if it is required, None if it is made.
    """

    name: str
    type: Any
    default: Any
    flag: Flag

    @property
    def word(self) -> str:
        return self.flag.word or self.name

    @property
    def flags(self) -> tuple[str, ...]:
        return self.flag.flags or (f"--{self.word.replace('_', '-')}",)

    @property
    def default_text(self) -> str:
        """What happens without the option; "" if that goes without saying."""
        if self.flag.default or isinstance(self.default, bool):
            return self.flag.default
        if isinstance(self.default, int | float):
            return f"{self.default:,}" if isinstance(self.default, int) else f"{self.default:g}"
        return str(self.default) if isinstance(self.default, str | Path) else ""

    def read(self, value: Any, where: str) -> Any:
        """The value of the field. Raises ConfigError, with `where` in it, if `value` cannot be used."""
        if self.flag.parse is not None:
            value = self.flag.parse(value, where)
        elif Path in (self.type, *get_args(self.type)):
            value = Path(value)
        units.require_between(value, self.flag.min, self.flag.max, where)
        if self.flag.sets:
            _check_field(self.flag.sets, self.setting(value), where)
        return value

    def setting(self, value: Any) -> Any:
        """What the field of the configuration becomes."""
        return self.flag.on if value is True else value


class Options:
    """Base of the option classes, which are frozen dataclasses."""

    @classmethod
    def from_words(cls, words: Mapping[str, Any], as_flags: bool = False) -> Self:
        """Options from what a user wrote.

        Args:
            words: keyword to value; None stands for the default.
            as_flags: errors name the flag, not the keyword.
        Raises:
            ConfigError: a value cannot be used. TypeError: there is no such keyword.
        """
        declared = {o.word: o for o in options_of(cls) if as_flags or not o.flag.cli_only}
        for word in words.keys() - declared.keys():
            raise TypeError(f"there is no argument {word!r}; {nearest(word, declared)}")
        given = {declared[word]: value for word, value in words.items() if value is not None}
        return cls(**{o.name: o.read(value, o.flags[0] if as_flags else o.word) for o, value in given.items()})

    @property
    def fields(self) -> dict[str, Any]:
        """Dotted fields of the configuration that these options set. A switch that is off sets none."""
        values = {o.flag.sets: o.setting(getattr(self, o.name)) for o in options_of(type(self)) if o.flag.sets}
        return {name: value for name, value in values.items() if value is not None and value is not False}


def describe(function: Callable[..., Any], cls: type[Options]) -> None:
    """Gives a function of `**options` the keywords of `cls`: in its signature, and in place of {options} in its help."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    lines, keywords = [], []
    for option in options_of(cls):
        if option.flag.positional or option.flag.cli_only or option.word in signature.parameters:
            continue
        keywords.append(inspect.Parameter(option.word, inspect.Parameter.KEYWORD_ONLY, default=option.default))
        default = f" [default: {option.default_text}]" if option.default_text else ""
        lines.append(f"{option.word}: {option.flag.help[0].lower()}{option.flag.help[1:]}{default}.")
    function.__dict__["__signature__"] = signature.replace(parameters=[*own, *keywords])
    function.__doc__ = (function.__doc__ or "").replace("{options}", "\n        ".join(lines))


def options_of(cls: type) -> tuple[Option, ...]:
    """What a class of options declares, in order; fields without a `Flag` are not for users."""
    hints = get_type_hints(cls, include_extras=True)
    declared = []
    for field in dataclasses.fields(cls):
        type_, *notes = get_args(hints[field.name])[:2] if hasattr(hints[field.name], "__metadata__") else (None,)
        default = None if field.default_factory is not dataclasses.MISSING else field.default
        declared += [Option(field.name, type_, default, note) for note in notes if isinstance(note, Flag)]
    return tuple(declared)


def _check_field(name: str, value: Any, where: str) -> None:
    """Checks one field by itself, so that an error names the flag."""
    from kantor.config.io import layered
    from kantor.config.schema import Config

    section, _, field = name.partition(".")
    layered(Config(), {section: {field: value}}, where)
