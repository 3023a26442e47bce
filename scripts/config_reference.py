"""Writes the tables of every field in docs/configuration.md, from the declarations in config/schema.py.

python scripts/config_reference.py          writes the page
python scripts/config_reference.py --check  says whether it is up to date, by its exit code
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from kantor.config.schema import Config

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGIN = "## Every field\n"
_HEAD = "| field | default | values | meaning |\n|---|---|---|---|"
_SIDES = "8 to 1024 a side"
_POWERS = {2**53: "2^53", 2**63: "2^63"}
_PLACES = {  # sections that stand twice have one table
    "optimizer.generator": "`[optimizer.generator]` and `[optimizer.critic]`",
    "optimizer.generator.schedule": "`[optimizer.generator.schedule]` and `[optimizer.critic.schedule]`",
}


def variants(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field can hold: none for a plain one, several for a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is dict:
        return variants(get_args(annotation)[1])
    return [model for part in get_args(annotation) for model in variants(part)]


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted name, field) of every section below `model`, in the order of the declarations."""
    for name, field in model.model_fields.items():
        found = variants(field.annotation)
        if not found:
            continue
        place = f"{prefix}{name}"
        if get_origin(field.annotation) is dict:
            place += ".NAME"
        if place == "optimizer.critic":
            continue
        if place != "optimizer":
            yield place, field
        seen: set[str] = set()
        for one in found:
            for below, inner in sections(one, f"{place}."):
                if below not in seen:
                    seen.add(below)
                    yield below, inner


def values(field: FieldInfo) -> str:
    """What may be written, in a few words."""
    annotated = field.annotation if not field.metadata else _annotated(field)
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
            words.append(", ".join(f"`{one}`" for one in option["enum"]))
        elif option.get("type") == "boolean":
            words.append("`true`, `false`")
        elif option.get("type") in ("integer", "number"):
            words.append(_limits(option) or "number")
        elif option.get("type") == "array":
            words.append("list" if "prefixItems" not in option else "list of " + str(len(option["prefixItems"])))
        else:
            words.append("text")
    return ", or ".join(words)


def _annotated(field: FieldInfo) -> Any:
    from typing import Annotated

    return Annotated[field.annotation, *field.metadata]  # type: ignore[valid-type]


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
        told = (f"`{name}`: at `{p.at.kind}`, `{p.of}`, weight {p.weight:g}" for name, p in value.items())
        return "; ".join(told) or "none"
    if isinstance(value, list | tuple):
        value = [one.model_dump(exclude_defaults=True) if isinstance(one, BaseModel) else one for one in value]
    return f"`{json.dumps(value)}`"


def _row(name: str, field: FieldInfo) -> str:
    where = "table" if variants(field.annotation) else values(field)
    if name == "size":
        where = _SIDES
    return f"| `{name}` | {_default(field)} | {where} | {' '.join((field.description or '').split())} |"


def table(model: type[BaseModel]) -> str:
    """The fields of one section; what holds sections has a row too."""
    rows = [_row(name, field) for name, field in model.model_fields.items() if name != "kind"]
    return "\n".join([_HEAD, *rows]) if rows else "No further fields."


def reference() -> str:
    """All tables."""
    parts = [
        BEGIN
        + "Numbers have the limits given; 2^53 stands for 9,007,199,254,740,992. Fields whose value is `table` have a "
        "section of\ntheir own below. The defaults are those of the tables; presets set many of them otherwise.\n"
    ]
    for place, field in sections(Config):
        found = variants(field.annotation)
        parts.append(f"### {_PLACES.get(place, f'`[{place}]`')}\n")
        if len(found) == 1:
            parts.append(f"{(found[0].__doc__ or '').strip()}\n\n{table(found[0])}\n")
            continue
        parts.append(f"{' '.join((field.description or '').split())}\n")
        for model in found:
            kind = model.model_fields["kind"].default
            parts.append(f'**`kind = "{kind}"`**: {" ".join((model.__doc__ or "").split())}\n\n{table(model)}\n')
    return "\n".join(parts)


def main() -> int:
    text = PAGE.read_text("utf-8")
    wanted = text[: text.index(BEGIN)] + reference()
    if "--check" in sys.argv:
        return int(text != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
