"""A painter's pipeline: the stages of `kantor paint PIPELINE.toml`, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, model_validator

from kantor.config.base import Section, Size
from kantor.config.explain import explained
from kantor.config.io import read_toml
from kantor.config.schema import Config
from kantor.errors import ConfigError, UserError, nearest

Text = Annotated[str, Field(min_length=1)]
MOST_STAGES = 20


class Stage(Section):
    """A stage. needs: what stages before it must have made; makes: what it makes."""

    kind: str
    needs: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[tuple[str, ...]] = ()


class Lines(Stage):
    """Lines, or other images that are coloured next."""

    kind: Literal["lines"]
    model: Text | None = None
    """Model that generates them."""
    drawings: Text | None = None
    """Image or folder of images instead; one after the other, seed by seed."""
    makes: ClassVar = ("lines", "picture")

    @model_validator(mode="after")
    def _one(self) -> Lines:
        if (self.model is None) == (self.drawings is None):
            raise ValueError("it has a model or drawings, one of them; name either")
        return self


class Colours(Stage):
    """The lines, coloured."""

    kind: Literal["colours"]
    model: Text
    """Model that colours them."""
    needs: ClassVar = ("lines",)
    makes: ClassVar = ("picture",)


class Ground(Stage):
    """What sprites stand on; without any of the first three fields, the picture so far."""

    kind: Literal["ground"]
    model: Text | None = None
    """Model that generates grounds."""
    pictures: Annotated[list[Text], Field(min_length=1)] | Text | None = None
    """Pictures and folders of pictures; one after the other, seed by seed."""
    colour: str | None = None
    """`#rrggbb`, or `transparent`."""
    size: Size | None = None
    """`128`, or height x width: `96x128`; grounds are resized to it, and cut to its shape."""
    makes: ClassVar = ("ground", "picture")

    @model_validator(mode="after")
    def _one(self) -> Ground:
        if len(self.sources) > 1:
            raise ValueError(f"{' and '.join(self.sources)} are both named; leave one of them out")
        if self.colour is not None and not re.fullmatch("#[0-9a-fA-F]{6}|transparent", self.colour):
            raise ValueError(
                f'colour: "{self.colour}" is not a colour; write it as #rrggbb, such as "#88aacc", or transparent'
            )
        if self.size == "auto":
            raise ValueError("the size is auto; write a number")
        return self

    @property
    def sources(self) -> list[str]:
        """The fields that name one."""
        return [name for name in ("model", "pictures", "colour") if getattr(self, name) is not None]


class Layout(Stage):
    """Where sprites stand, and how large they are."""

    kind: Literal["layout"]
    model: Text
    """Model of layouts (`--objects layout`)."""
    smallest: Annotated[float, Field(gt=0, lt=1)] = 0.004
    """Share of the layout that an object covers at least; smaller ones are specks."""
    makes: ClassVar = ("layout",)


class Objects(Stage):
    """A sprite for each place of the layout."""

    kind: Literal["objects"]
    model: Text
    """Model of images with transparency."""
    haze: Annotated[float, Field(ge=0, le=0.45)] = 0.05
    """As for `kantor compose`."""
    needs: ClassVar = ("layout",)
    makes: ClassVar = ("objects",)


class Assemble(Stage):
    """The sprites, on the ground, by the layout."""

    kind: Literal["assemble"]
    needs: ClassVar = ("ground", "layout", "objects")
    makes: ClassVar = ("picture",)


class Upscale(Stage):
    """The picture so far, larger."""

    kind: Literal["upscale"]
    model: Text
    """Model of the preset `upscale`."""
    times: Literal[2, 4] | None = None
    """As for `kantor upscale`."""
    needs: ClassVar = ("picture",)
    makes: ClassVar = ("picture",)


KINDS: dict[str, type[Stage]] = {
    "lines": Lines, "colours": Colours, "ground": Ground, "layout": Layout, "objects": Objects, "assemble": Assemble,
    "upscale": Upscale,
}  # fmt: skip


@contextmanager
def at_stage(path: Path, number: int, kind: str) -> Iterator[None]:
    """Names file and stage, counted from 1, in errors for the user."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{path}: stage {number} ({kind})", f"{error.where}: {error.what}", error.do) from error


def read_pipeline(path: Path) -> list[Stage]:
    """The stages of a TOML file, each with its fields checked, in an order that works. Raises ConfigError."""
    tree = read_toml(path)
    tables = tree.get("stage")
    if other := next((key for key in tree if key != "stage"), None):
        if other in KINDS:
            raise ConfigError(f"{path}: {other}", "is no table of a pipeline", f'write [[stage]] and kind = "{other}"')
        if tables is None and other in Config.model_fields:
            raise ConfigError(path, "configures training, and names no stages", "name a pipeline: tables [[stage]]")
        raise ConfigError(f"{path}: {other}", "there is no such table in a pipeline", nearest(other, ["stage"]))
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        kinds = ", ".join(KINDS)
        raise ConfigError(path, "names no stages", f"write tables [[stage]], each with a kind: {kinds}")
    if len(tables) > MOST_STAGES:
        raise ConfigError(path, f"names {len(tables)} stages", f"name at most {MOST_STAGES}")
    stages = [_stage(path, number, table) for number, table in enumerate(tables, 1)]
    _check_order(path, stages)
    return stages


def _stage(path: Path, number: int, table: dict[str, Any]) -> Stage:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        what = "has no kind" if kind is None else f"there is no stage of the kind {kind!r}"
        raise ConfigError(f"{path}: stage {number}", what, nearest(str(kind), KINDS))
    cls, where = KINDS[kind], f"{path}: stage {number} ({kind})"
    if (other := next((key for key in table if key not in cls.model_fields), None)) is not None:
        names = [name for name in cls.model_fields if name != "kind"]
        raise ConfigError(
            f"{where}: {other}", "there is no such field", nearest(other, names) if names else "leave it out"
        )
    for name, field in cls.model_fields.items():
        if field.is_required() and name not in table:
            raise ConfigError(f"{where}: {name}", "is missing", f'write {name} = "..."')
    try:
        return cls.model_validate(table)
    except ValidationError as error:
        if not error.errors()[0]["loc"]:  # fields that do not go together
            what, _, do = str(error.errors()[0]["msg"]).removeprefix("Value error, ").partition("; ")
            raise ConfigError(where, what, do) from error
        raise explained(error, {**dict.fromkeys(cls.model_fields), **table}, where) from error


_MADE_BY = {"picture": "lines, colours, ground or assemble"}


def _check_order(path: Path, stages: Sequence[Stage]) -> None:
    """Raises ConfigError if a stage needs what none before it makes."""
    made = set[str]()
    for number, stage in enumerate(stages, 1):
        needs = stage.needs
        if isinstance(stage, Ground) and not stage.sources:
            needs = ("picture",)
        for need in needs:
            if need not in made:
                later = any(need in other.makes for other in stages[number:])
                do = f"{'move' if later else 'add'} a stage {_MADE_BY.get(need, need)} before it"
                if isinstance(stage, Ground):
                    do += ", or name a model, pictures or a colour"
                article = "lines" if need in ("lines", "objects") else ""
                what = f"needs {need if article else f'a {need}'}, and no stage before it makes {'them' if article else 'one'}"
                raise ConfigError(f"{path}: stage {number} ({stage.kind})", what, do)
        made.update(stage.makes)
        if isinstance(stage, Layout):  # other places, and no sprites for these yet
            made.discard("objects")
