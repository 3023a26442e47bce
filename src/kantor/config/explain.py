"""What pydantic finds wrong with a configuration, as one line for the user."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from kantor.config.objective import PenaltyConfig
from kantor.errors import ConfigError, did_you_mean, nearest


def explained(error: ValidationError, tree: dict[str, Any], where: str) -> ConfigError:
    """The first fault that `error` reports, in plain words."""
    faults = error.errors()
    fault = next((f for f in faults if f["type"] != "literal_error"), faults[0])
    path, siblings = _path_and_siblings(fault["loc"], tree)
    path = _short(path)
    place = f"--set {path}" if where.startswith("--set") else f"{where}: {path}"
    context, value = fault.get("ctx", {}), _shown(fault["input"])
    match fault["type"]:
        case "extra_forbidden":
            if path.split(".")[-3:-2] == ["penalties"]:  # a new penalty has no siblings yet
                siblings = [*PenaltyConfig.model_fields]
            section, dot, name = path.rpartition(".")
            if not section and "." in where and where.startswith("--set "):  # of a field in it
                return ConfigError(
                    where, f"there is no section {name}", _nearest_field(where.removeprefix("--set "), tree)
                )
            prefix = section + dot if where.startswith("--set") else ""
            return ConfigError(place, "there is no such field", nearest(name, siblings, prefix))
        case "union_tag_invalid":
            kind = str(context["tag"])
            kinds = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
            return ConfigError(f"{place}.kind", f'there is no "{_short(kind)}"', nearest(kind, kinds))
        case "literal_error":
            names = [name.strip(" '") for name in str(context["expected"]).replace(" or ", ",").split(",")]
            return ConfigError(place, f"{value} is not one of its values", nearest(str(fault["input"]), names))
        case "model_type" | "dict_type" | "model_attributes_type":
            return ConfigError(place, f"is a section and cannot be {value}", "name one of its fields")
    rule = str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "it must be")
    rule = rule.partition(", unable")[0]
    auto = ', or "auto"' if any(f["type"] == "literal_error" and "auto" in str(f["msg"]) for f in faults) else ""
    what, _, do = rule.rpartition("; ")
    return ConfigError(place, what or f"{value} cannot be used", f"{do}{auto}")


def _nearest_field(name: str, tree: dict[str, Any]) -> str:
    """The field that is meant, or the sections that there are."""
    sections = {key: table for key, table in tree.items() if isinstance(table, dict) and key != name.partition(".")[0]}
    fields = [f"{section}.{field}" for section, table in sections.items() for field in table]
    return did_you_mean(name, fields) or nearest(name.partition(".")[0], sections)


def _shown(value: Any) -> str:
    try:
        return _short(repr(value))
    except ValueError:  # an integer with more digits than Python prints
        return "this number"


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


def _path_and_siblings(location: Iterable[Any], tree: Any) -> tuple[str, list[str]]:
    """The dotted path of a fault, and the other names in the same table.

    pydantic puts the tags of unions between the names: whatever is not a key of `tree` is such a tag.
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
