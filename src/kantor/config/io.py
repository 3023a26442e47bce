"""Configurations in and out: TOML, presets, overrides, differences, and errors that help."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from kantor.config.schema import Config, PenaltyConfig
from kantor.errors import ConfigError, nearest

Tree = dict[str, Any]
MAX_BYTES = 1_000_000


def resolve(preset: str = "default", file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration after schema default < preset < file < overrides.

    Args:
        overrides: dotted field ("critic.width") to value.
    Raises:
        ConfigError: naming the field, what is wrong and the nearest legal name.
    """
    config = layered(Config(), read_preset(preset), f"preset {preset}")
    if file is not None:
        config = layered(config, read_toml(file), str(file))
    return overridden(config, overrides or {})


def overridden(config: Config, overrides: Mapping[str, Any]) -> Config:
    """`config` with dotted fields ("critic.width") replaced, from outside in and kinds first: in whatever
    order they come, none is lost."""
    kinds_first = sorted(overrides.items(), key=lambda pair: (pair[0].count("."), not pair[0].endswith(".kind")))
    for name, value in kinds_first:
        config = layered(config, _nested(name, value), f"--set {name}")
    return config


def layered(config: Config, tree: Tree, where: str) -> Config:
    """`config` with the values of `tree` in place of its own.

    A table that names another `kind` replaces the old one: a new variant starts from its own defaults.
    """
    done: Tree = {}
    try:
        for depth in range(2, 6):  # level by level: a new variant brings its defaults before they are changed
            kinds = _only_kinds(tree, depth)
            if kinds != done:
                config, done = _validated(_merged(config.model_dump(), kinds), where), kinds
        return _validated(_merged(config.model_dump(), tree), where)
    except RecursionError as error:
        raise ConfigError(where, "is nested too deeply", "write sections and fields only") from error


def read_toml(path: Path) -> Tree:
    """The table in a TOML file.

    Raises:
        ConfigError: not there, not text, too large, or not TOML (with the line).
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(path, "is larger than 1 MB, so it is no configuration", "name a TOML file")
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(path, f"cannot be read ({error.strerror})", "check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, "is not a text file", "name a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, f"is not valid TOML: {error}", "mend that line") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, brackets in brackets, a NUL in the path
        raise ConfigError(path, "is no configuration: a number or a nesting in it has no end", "mend it") from error


def preset_names() -> list[str]:
    """Names of the presets that come with Kantor."""
    folder = resources.files("kantor.config") / "presets"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """A preset as it stands in its file, comments included."""
    if name not in preset_names():
        do = f"{nearest(name, preset_names())}; kantor presets lists all"
        raise ConfigError(f"--preset {name}", "there is no preset of this name", do)
    return (resources.files("kantor.config") / "presets" / f"{name}.toml").read_text("utf-8")


def read_preset(name: str) -> Tree:
    return tomllib.loads(preset_text(name))


def to_toml(config: Config) -> str:
    """The whole configuration as TOML; `read_toml` and `resolve` bring it back."""
    return tomli_w.dumps(_kinds_first(config.model_dump(mode="json")))


def parse_override(text: str) -> tuple[str, Any]:
    """("critic.width", 32) of "critic.width=32". The value is TOML; a bare word is a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(
            f"--set {text}", "is not of the form SECTION.FIELD=VALUE", "write for example critic.width=32"
        )
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    return name.strip(), parsed


def difference(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted fields whose values differ, with both values; a field that one of them lacks counts as None."""
    a, b = leaves(old.model_dump(mode="json")), leaves(new.model_dump(mode="json"))
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def leaves(tree: Tree) -> dict[str, Any]:
    """Dotted fields of a tree with their values."""
    return dict(_leaves(tree))


def _validated(tree: Tree, where: str) -> Config:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise _explained(error, tree, where) from error


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    if "kind" in new and new["kind"] != old.get("kind"):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _only_kinds(tree: Any, depth: int) -> Tree:
    """The tables of `tree`, down to `depth`, with nothing but their kinds."""
    found: Tree = {}
    if not depth:
        return found
    for key, value in tree.items() if isinstance(tree, dict) else ():
        if key == "kind":
            found["kind"] = value
        elif isinstance(value, dict) and (inner := _only_kinds(value, depth - 1)):
            found[key] = inner
    return found


def _nested(name: str, value: Any) -> Tree:
    for part in reversed(name.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def _kinds_first(tree: Tree) -> Tree:
    """Plain values before tables, as TOML wants it, and `kind` before everything."""
    ordered = sorted(tree.items(), key=lambda item: (isinstance(item[1], dict), item[0] != "kind"))
    return {key: _kinds_first(value) if isinstance(value, dict) else value for key, value in ordered}


def _leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _explained(error: ValidationError, tree: Tree, where: str) -> ConfigError:
    """The first fault of a validation, in plain words."""
    faults = error.errors()
    fault = next((f for f in faults if f["type"] != "literal_error"), faults[0])
    path, siblings = _place(fault["loc"], tree)
    path = _short(path)
    place = f"--set {path}" if where.startswith("--set") else f"{where}: {path}"
    context, given = fault.get("ctx", {}), _shown(fault["input"])
    match fault["type"]:
        case "extra_forbidden":
            if path.split(".")[-3:-2] == ["penalties"]:  # a new one has no neighbours to name
                siblings = [*PenaltyConfig.model_fields]
            return ConfigError(place, "there is no such field", nearest(path.rpartition(".")[2], siblings))
        case "union_tag_invalid":
            kinds = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
            return ConfigError(
                f"{place}.kind", f'there is no "{_short(str(context["tag"]))}"', nearest(str(context["tag"]), kinds)
            )
        case "literal_error":
            names = [name.strip(" '") for name in str(context["expected"]).replace(" or ", ",").split(",")]
            return ConfigError(place, f"{given} is not one of its values", nearest(str(fault["input"]), names))
        case "model_type" | "dict_type" | "model_attributes_type":
            return ConfigError(place, f"is a section and cannot be {given}", "name one of its fields")
    wanted = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "it must be")
    wanted = wanted.partition(", unable")[0]
    auto = ', or "auto"' if any(f["type"] == "literal_error" and "auto" in str(f["msg"]) for f in faults) else ""
    return ConfigError(place, f"{given} cannot be used", f"{wanted}{auto}")


def _shown(value: Any) -> str:
    try:
        return _short(repr(value))
    except ValueError:  # an integer with more digits than Python prints
        return "this number"


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


def _place(location: Iterable[Any], tree: Any) -> tuple[str, list[str]]:
    """The dotted path of a fault, and the names beside it.

    pydantic puts tags of unions between the names; what is no key of the tree is one of them.
    """
    path: list[str] = []
    siblings: list[str] = []
    for part in location:
        if isinstance(tree, dict) and part in tree:
            siblings = [str(key) for key in tree if key != part]
            path.append(str(part))
            tree = tree[part]
        elif isinstance(tree, list | tuple) and isinstance(part, int):
            path[-1] += f"[{part}]"
            tree = tree[part] if part < len(tree) else None
    return ".".join(path), siblings
