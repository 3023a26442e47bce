"""The types that all sections of the configuration use."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Auto = Literal["auto"]
Rate = Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)]
Positive = Annotated[int, Field(gt=0, le=2**53)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Weight = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Width = Annotated[int, Field(ge=4, le=512)]


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "64" or "48x96"."""
    parts = [int(p) for p in text.split("x")]
    return (parts[0], parts[-1])


def _size(value: Any) -> Any:
    """Accepts 64, "64", "64x64" and "48x96" (height x width); keeps the shortest spelling."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or value == "auto":
        return value
    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})?", value):
        raise ValueError('write one number ("64") or height x width ("48x96")')
    height, width = parse_size(value)
    if not (8 <= height <= 1024 and 8 <= width <= 1024):
        raise ValueError("both sides must lie between 8 and 1024")
    return str(height) if height == width else f"{height}x{width}"


def fraction(value: Any) -> Any:
    """Accepts "1%" and 0.01. A bare "1" on the command line is refused: it could mean 1% or all."""
    if isinstance(value, str):
        text = value.replace(" ", "")
        if text in ("1", "1.0"):
            raise ValueError("it may mean 1% or all of them; write 1% or 100%")
        if not re.fullmatch(r"(\d+\.?\d*|\.\d+)(e-?\d+)?%?", text.lower()):
            raise ValueError('write a fraction, such as 0.05, or a percentage, such as "5%"')
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if isinstance(value, int | float) and value > 1:
        raise ValueError("more than 100%; write a fraction up to 1, such as 0.05, or a percentage, such as 5%")
    return value


Size = Annotated[str, BeforeValidator(_size)]


class Section(BaseModel):
    """A section of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Absent(Section):
    """Absent."""

    kind: Literal["none"] = "none"
