"""Writes the tables of every field in docs/configuration.md, from the declarations in config/.

python scripts/config_reference.py          writes the page
python scripts/config_reference.py --check  exits with 1 if the page is out of date
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from kantor.config.schema import Config

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGIN = "## Every field\n"
_HEAD = "| field | default | values | meaning |\n|---|---|---|---|"
_SIDES = "8 to 1024 a side"
_POWERS = {2**53: "2^53", 2**63: "2^63"}
_HEADINGS = {  # two sections that share one table
    "optimizer.generator": "`[optimizer.generator]` and `[optimizer.critic]`",
    "optimizer.generator.schedule": "`[optimizer.generator.schedule]` and `[optimizer.critic.schedule]`",
}


def variants(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field can hold: none for a plain value, several for a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is dict:
        return variants(get_args(annotation)[1])
    return [model for part in get_args(annotation) for model in variants(part)]


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted name, field) of every section below `model`, in the order of the declarations."""
    for name, field in model.model_fields.items():
        models = variants(field.annotation)
        if not models:
            continue
        place = f"{prefix}{name}"
        if get_origin(field.annotation) is dict:
            place += ".NAME"
        if place == "optimizer.critic":
            continue
        if place != "optimizer":
            yield place, field
        seen: set[str] = set()
        for section in models:
            for below, inner in sections(section, f"{place}."):
                if below not in seen:
                    seen.add(below)
                    yield below, inner


def values(field: FieldInfo) -> str:
    """The values that a field accepts, in a few words."""
    annotated = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    schema = TypeAdapter(annotated).json_schema()
    if schema.get("pattern", "").startswith("^#"):
        return "`#rrggbb`"
    if schema.get("type") == "object":
        return "table of your own"
    options = schema.get("anyOf", [schema])
    words = []
    for option in options:
        if "const" in option:
            words.append(f"`{option['const']}`")
        elif "enum" in option:
            words.append(", ".join(f"`{word}`" for word in option["enum"]))
        elif option.get("type") == "boolean":
            words.append("`true`, `false`")
        elif option.get("type") in ("integer", "number"):
            words.append(_limits(option) or "number")
        elif option.get("type") == "array":
            words.append("list" if "prefixItems" not in option else "list of " + str(len(option["prefixItems"])))
        else:
            words.append("text")
    return ", or ".join(words)


def _limits(option: dict[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {_number(option[key])}" for key, sign in signs.items() if key in option)


def _number(value: float) -> str:
    if value in _POWERS:
        return _POWERS[int(value)]
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        kind = getattr(value, "kind", None)
        return f'`kind = "{kind}"`' if kind else "table"
    if isinstance(value, dict):
        penalties = (f"`{name}`: at `{p.at.kind}`, `{p.of}`, weight {p.weight:g}" for name, p in value.items())
        return "; ".join(penalties) or "none"
    if isinstance(value, list | tuple):
        value = [item.model_dump(exclude_defaults=True) if isinstance(item, BaseModel) else item for item in value]
    return f"`{json.dumps(value)}`"


def _row(name: str, field: FieldInfo) -> str:
    accepted = "table" if variants(field.annotation) else values(field)
    if name == "size":
        accepted = _SIDES
    return f"| `{name}` | {_default(field)} | {accepted} | {_one_line(field.description)} |"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def table(model: type[BaseModel]) -> str:
    """A row for each field of a section, those that hold sections included."""
    rows = [_row(name, field) for name, field in model.model_fields.items() if name != "kind"]
    return "\n".join([_HEAD, *rows]) if rows else "No further fields."


def reference() -> str:
    """All tables."""
    parts = [
        BEGIN
        + "Numbers have the limits given; 2^53 stands for 9,007,199,254,740,992. A field whose value is `table` has a "
        "section below.\nThe defaults are those of the schema; presets change many of them.\n"
    ]
    for place, field in sections(Config):
        models = variants(field.annotation)
        parts.append(f"### {_HEADINGS.get(place, f'`[{place}]`')}\n")
        if len(models) == 1:
            parts.append(f"{_one_line(models[0].__doc__)}\n\n{table(models[0])}\n")
            continue
        parts.append(f"{_one_line(field.description)}\n")
        for model in models:
            kind = model.model_fields["kind"].default
            parts.append(f'**`kind = "{kind}"`**: {_one_line(model.__doc__)}\n\n{table(model)}\n')
    return "\n".join(parts)


def main() -> int:
    text = PAGE.read_text("utf-8")
    updated = text[: text.index(BEGIN)] + reference()
    if "--check" in sys.argv:
        return int(text != updated)
    PAGE.write_text(updated, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
