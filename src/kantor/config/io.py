"""Configurations in and out: TOML, presets and what they extend, layers, overrides, differences."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from kantor.config.explain import explained
from kantor.config.migrate import migrated
from kantor.config.schema import Config
from kantor.errors import ConfigError, did_you_mean

Tree = dict[str, Any]
MAX_BYTES = 1_000_000
_PRESETS = resources.files("kantor.config") / "presets"


def resolve(preset: str = "default", file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration after schema default < preset < file < overrides.

    A file that says `extends = "NAME"` names its preset itself.

    Args:
        overrides: dotted field ("critic.width") to value.
    Raises:
        ConfigError: names the field, what is wrong and the nearest legal name.
    """
    tree = {} if file is None else read_toml(file)
    base = tree.pop("extends", preset)
    if base != preset != "default":
        raise ConfigError(
            f"--preset {preset}", f"{file} extends {base}", "leave out --preset, or that line of the file"
        )
    fields = read_preset(base, f"{file}: extends" if base != preset else "--preset")
    return overridden(layered(layered(Config(), fields, f"preset {base}"), tree, str(file)), overrides or {})


def overridden(config: Config, overrides: Mapping[str, Any]) -> Config:
    """`config` with dotted fields ("critic.width") replaced.

    Outer fields come first, and kinds before their fields: no order of `overrides` loses one of them.
    """
    kinds_first = sorted(overrides.items(), key=lambda pair: (pair[0].count("."), not pair[0].endswith(".kind")))
    for name, tree in kinds_first:
        for part in reversed(name.split(".")):
            tree = {part: tree}
        config = layered(config, tree, f"--set {name}")
    return config


def layered(config: Config, tree: Tree, where: str) -> Config:
    """`config` with the values of `tree`, of this or an older version, in place of its own.

    A table that names another `kind` replaces the old one: a new variant starts from its own defaults.
    """
    tree, done = migrated(tree), Tree()
    try:
        for depth in range(2, 6):  # level by level: a new variant brings its defaults before they are changed
            kinds = _only_kinds(tree, depth)
            if kinds != done:
                config, done = _validated(_merged(config.model_dump(), kinds), where), kinds
        return _validated(_merged(config.model_dump(), tree), where)
    except RecursionError as error:
        raise ConfigError(where, "is nested too deeply", "write sections and fields only") from error


def read_toml(path: Path) -> Tree:
    """The table in a TOML file. Raises ConfigError: not there, not text, too large, or not TOML (with the line)."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(path, "is too large for a configuration (over 1 MB)", "name a TOML file")
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(path, f"cannot be read ({error.strerror})", "check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, "is not a text file", "name a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, f"is not valid TOML: {error}", "fix that line") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, brackets in brackets, a NUL in the path
        what = "is not a valid configuration: nested too deeply, or a number is too long"
        raise ConfigError(path, what, "fix that line") from error


def read_config(path: Path) -> Tree:
    """The fields that a TOML file sets, those of the preset that it extends included."""
    tree = read_toml(path)
    preset = tree.pop("extends", None)
    return tree if preset is None else _merged(read_preset(preset, f"{path}: extends"), tree)


def preset_names() -> list[str]:
    """Names of the presets that come with Kantor."""
    return sorted(entry.name[:-5] for entry in _PRESETS.iterdir() if entry.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """A preset as TOML, comments included; one that extends another is written out whole."""
    text = _preset_file(name, "presets")
    if "extends" not in tomllib.loads(text):
        return text
    comments = [line for line in text.splitlines() if line.startswith("#")]
    fields = tomli_w.dumps(_kinds_first(read_preset(name)))
    fields = re.sub(r"\[\n\s+([^][{}]*),\n\s*\]", lambda m: f"[{' '.join(m[1].split())}]", fields)  # [0.0, 0.99]
    return "\n".join(comments) + "\n\n" + fields


def read_preset(name: str, where: str = "--preset") -> Tree:
    """The fields that a preset sets, those of the presets that it extends included. where: what names it, for errors."""
    trees: dict[str, Tree] = {}
    while name is not None:
        if name in trees:
            raise ConfigError(f"preset {name}", f"extends itself: {' > '.join([*trees, name])}", "break this circle")
        trees[name] = tomllib.loads(_preset_file(name, where))
        where = f"preset {name}: extends"
        name = trees[name].pop("extends", None)
    whole: Tree = {}
    for tree in reversed(trees.values()):
        whole = _merged(whole, tree)
    return whole


def to_toml(config: Config) -> str:
    """The whole configuration as TOML; `read_toml` and `resolve` bring it back."""
    return tomli_w.dumps(_kinds_first(config.model_dump(mode="json")))


def parse_override(text: str) -> tuple[str, Any]:
    """("critic.width", 32) of "critic.width=32". The value is TOML; a bare word is a string."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        what = "is not of the form SECTION.FIELD=VALUE"
        raise ConfigError(f"--set {text}", what, "write for example critic.width=32")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    return name.strip(), parsed


def override_text(name: str, value: Any) -> str:
    """What `parse_override` reads: "critic.width=32"."""
    return f"{name}={_toml_value(value)}" if not isinstance(value, str) else f"{name}={_toml_text(name, value)}"


def _toml_text(name: str, text: str) -> str:
    return text if parse_override(f"{name}={text}") == (name, text) else _toml_value(text)


def _toml_value(value: Any) -> str:
    """A value on one line: tables and lists inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_value(key)} = {_toml_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # numbers, true, false and text are written alike, except for what JSON does not escape
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def difference(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted fields whose values differ, with both values; a field that one of them lacks counts as None."""
    a, b = leaves(old.model_dump(mode="json")), leaves(new.model_dump(mode="json"))
    return {name: (a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)}


def leaves(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """Dotted fields of a tree with their values."""
    fields: dict[str, Any] = {}
    for key, value in tree.items():
        fields |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return fields


def _preset_file(name: object, where: str) -> str:
    """The text of a preset's file. where: what names the preset."""
    names = preset_names()
    if name not in names:
        do = did_you_mean(str(name), names) or "list them with `kantor presets`"
        raise ConfigError(f"{where} {name}", "there is no preset of this name", do)
    return _PRESETS.joinpath(f"{name}.toml").read_text("utf-8")


def _validated(tree: Tree, where: str) -> Config:
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise explained(error, tree, where) from error


def _merged(old: Any, new: Any) -> Any:
    """`new` over `old`, table by table; a table of another kind replaces the old one whole."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    if "kind" in new and new["kind"] != old.get("kind"):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _only_kinds(tree: Any, depth: int) -> Tree:
    """The tables of `tree`, down to `depth`, with nothing but their kinds."""
    kinds: Tree = {}
    for key, value in tree.items() if depth and isinstance(tree, dict) else ():
        if key == "kind":
            kinds["kind"] = value
        elif isinstance(value, dict) and (inner := _only_kinds(value, depth - 1)):
            kinds[key] = inner
    return kinds


def _kinds_first(tree: Tree) -> Tree:
    """Plain values before tables, as TOML wants it, and `kind` before everything."""
    ordered = sorted(tree.items(), key=lambda item: (isinstance(item[1], dict), item[0] != "kind"))
    return {key: _kinds_first(value) if isinstance(value, dict) else value for key, value in ordered}
