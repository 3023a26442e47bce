"""Columns of Arrow's types: which of them hold images and classes, and what is in them. Parquet and Arrow share it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding.array_hints import channels_first
from kantor.data.reasons import Undecodable
from kantor.data.sources.labels import MAX_CLASSES
from kantor.data.sources.source import Loaded
from kantor.errors import DataError, nearest

IMAGES = ("image", "img", "picture", "images", "jpg", "png", "bytes", "image_bytes")
NUMBERS = (*IMAGES, "pixels", "pixel_values", "array", "data", "x")  # names of lists of numbers that are images
_SHOWN = 12
LABELS = ("label", "labels", "class", "fine_label", "class_name", "y")
MAX_LABEL_BYTES = 1000
_FEWEST_BYTES = 64  # of an image in a column of fixed width: identifiers are shorter
_HOW_TO_NAME = "name the column with it, for example {}"

Form = Literal["bytes", "struct", "numbers"]


class NotClasses(Exception):
    """Raised for a column of labels whose values are not classes; str() says what it is ("is a list of 5 numbers")."""


@dataclass(frozen=True)
class Columns:
    """What was chosen among the columns."""

    image: str
    form: Form  # encoded files; structs with such in `bytes`; lists of numbers
    labels: tuple[str, ...]  # columns that may hold classes, the likeliest first
    note: str  # for the user
    by_first_rules: bool = False  # as rules 1 choose them, whose labels are read in their way too

    @property
    def leaf(self) -> str:
        """The column of a Parquet file that holds the images."""
        return f"{self.image}.bytes" if self.form == "struct" else self.image


def choose_columns(schema: Any, path: str, rules: int, column: str = "") -> Columns:
    """The columns of images and of labels. Raises DataError if it is not clear which, or `column` is not of images."""
    forms = {field.name: form for field in schema if (form := form_of(field))}
    if column:
        return _named(schema, path, column, forms)
    if rules < 2 and (old := _by_first_rules(schema)):
        return old
    image = _likeliest(schema, forms)
    if image is None:
        raise _unclear(schema, path, forms)
    note = f"images are the column {image}"
    if unread := next((name for name in IMAGES[:2] if name in schema.names and name not in forms), None):
        note += f" (column {unread} {described(field_of(schema, unread).type)}: not read)"
    return Columns(image, forms[image], _labels_beside(schema, image), note)


def form_of(field: Any) -> Form | None:
    """How a column can hold images, None if it cannot."""
    import pyarrow.types as kinds

    kind = bare(field.type)
    if kinds.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields)):
        return "struct"
    if kinds.is_fixed_size_binary(kind):
        return "bytes" if kind.byte_width >= _FEWEST_BYTES else None
    if kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_binary_view(kind):
        return "bytes"
    deep, inner = _depth(kind)
    numeric = kinds.is_integer(inner) or kinds.is_floating(inner) or kinds.is_boolean(inner)
    if not numeric or field.name in LABELS or deep > 3:
        return None
    shaped = len(getattr(field.type, "shape", ())) in (2, 3)  # a tensor of fixed shape
    return "numbers" if deep > 1 or shaped or (deep == 1 and field.name in NUMBERS) else None


def bare(kind: Any) -> Any:
    """The type of the values themselves, without a dictionary or an extension around them."""
    import pyarrow
    import pyarrow.types as kinds

    while True:
        if isinstance(kind, pyarrow.BaseExtensionType):
            kind = kind.storage_type
        elif kinds.is_dictionary(kind):
            kind = kind.value_type
        else:
            return kind


def described(kind: Any) -> str:
    """A type in words: "is a list of 5 numbers"."""
    import pyarrow.types as kinds

    kind = bare(kind)
    if not _is_list(kind):
        text = kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)
        return "holds texts" if text else f"is of type {str(kind)[:40]}"
    _, inner = _depth(kind)
    numeric = kinds.is_integer(inner) or kinds.is_floating(inner) or kinds.is_boolean(inner)
    count = f"{kind.list_size} " if kinds.is_fixed_size_list(kind) else ""
    return f"is a list of {count}{'numbers' if numeric else str(inner)[:40]}"


def field_of(schema: Any, name: str) -> Any:
    """The first column of this name."""
    return next(field for field in schema if field.name == name)


def require_classes(field: Any) -> None:
    """Raises NotClasses if the values of a column cannot be classes, as far as its type says."""
    import pyarrow.types as kinds

    kind = bare(field.type)
    numbers = (kinds.is_integer, kinds.is_boolean, kinds.is_floating)
    others = (kinds.is_decimal, kinds.is_string, kinds.is_large_string, kinds.is_string_view)
    inner = kind.value_type if _is_list(kind) else kind
    if not any(fits(inner) for fits in (numbers if _is_list(kind) else numbers + others)):
        raise NotClasses(described(field.type))


def _is_list(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _depth(kind: Any) -> tuple[int, Any]:
    """How deep lists are nested, and the type inside."""
    deep = 0
    while _is_list(kind) and deep < 8:
        kind, deep = kind.value_type, deep + 1
    return deep, kind


def _likeliest(schema: Any, forms: dict[str, Form]) -> str | None:
    """The column of images by its usual name, else the only one: encoded images first, then numbers."""
    encoded = [name for name, form in forms.items() if form != "numbers"]
    structs = [name for name, form in forms.items() if form == "struct"]
    if named := next((name for name in IMAGES if name in encoded), None):
        return named
    if encoded:
        return next((names[0] for names in (encoded, structs) if len(names) == 1), None)
    if named := next((name for name in NUMBERS if name in forms), None):
        return named
    return next(iter(forms)) if len(forms) == 1 else None


def _labels_beside(schema: Any, image: str) -> tuple[str, ...]:
    return tuple(name for name in LABELS if name in schema.names and name != image)


def _named(schema: Any, path: str, column: str, forms: dict[str, Form]) -> Columns:
    if column not in schema.names:
        raise DataError(path, f"there is no column {column}", nearest(column, schema.names))
    if column not in forms:
        do = "choose one of " + ", ".join(forms) if forms else "name a file with encoded images"
        raise DataError(path, f"column {column} {described(field_of(schema, column).type)}, not images", do)
    return Columns(column, forms[column], _labels_beside(schema, column), f"images are the column {column}")


def _unclear(schema: Any, path: str, forms: dict[str, Form]) -> DataError:
    if forms:
        what = f"which column holds images is not clear ({', '.join(forms)})"
        return DataError(path, what, _HOW_TO_NAME.format(f"{Path(path).name}:{next(iter(forms))}"))
    named = next((name for name in IMAGES if name in schema.names), None)
    if named:
        what = f"column {named} {described(field_of(schema, named).type)}, not images"
    else:
        more = f" and {len(schema.names) - _SHOWN} more" if len(schema.names) > _SHOWN else ""
        what = f"no column holds encoded images (columns: {', '.join(schema.names[:_SHOWN])}{more})"
    return DataError(path, what, "store the bytes of image files in a column image")


def _by_first_rules(schema: Any) -> Columns | None:
    """As rules 1 choose, None where they refuse."""
    import pyarrow.types as kinds

    forms: dict[str, Form] = {}
    labels = []
    for field in schema:
        kind = field.type.value_type if kinds.is_dictionary(field.type) else field.type
        if kinds.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields)):
            forms[field.name] = "struct"
        elif kinds.is_binary(field.type) or kinds.is_large_binary(field.type):
            forms[field.name] = "bytes"
        elif any(fits(kind) for fits in (kinds.is_integer, kinds.is_boolean, kinds.is_string, kinds.is_large_string)):
            labels.append(field.name)
    image = next((name for name in IMAGES if name in forms), next(iter(forms)) if len(forms) == 1 else None)
    if image is None:
        return None
    label = next(((name,) for name in LABELS if name in labels), ())
    return Columns(image, forms[image], label, f"images are the column {image}", by_first_rules=True)


# --- images -----------------------------------------------------------------------------------------------------------


def image_in(values: Any, row: int, form: Form) -> Loaded:
    """The image in a row of a column: an encoded file, or numbers [H, W] or [H, W, C].

    Raises:
        Undecodable: there is none, or the numbers have no shape of an image.
    """
    if form == "numbers":
        return _shaped(_numbers(values.slice(row, 1)))
    data = values[row].as_py()
    if not isinstance(data, bytes):
        raise Undecodable("damaged", "the row holds no image")
    return data


def _numbers(values: Any) -> NDArray[Any]:
    """The numbers of one row; lists in lists must be of one length."""
    import pyarrow
    import pyarrow.compute as compute

    if values.null_count:
        raise Undecodable("damaged", "the row holds no image")
    if isinstance(values.type, pyarrow.FixedShapeTensorType):
        array: NDArray[Any] = values.to_numpy_ndarray()[0]
        return array
    if isinstance(values.type, pyarrow.BaseExtensionType):
        values = values.storage
    shape = []
    while _is_list(values.type):
        lengths = set(compute.list_value_length(values).unique().to_pylist())
        if len(lengths) != 1 or lengths <= {0, None}:
            raise Undecodable("content", "its lists are of several lengths, or empty")
        shape.append(lengths.pop())
        values = values.flatten()
    if values.null_count:
        raise Undecodable("damaged", "some of its numbers are missing")
    array = values.to_numpy(zero_copy_only=False)
    return array.reshape(shape)


def _shaped(array: NDArray[Any]) -> NDArray[Any]:
    """Numbers as [H, W] or [H, W, C]; a flat list is a square."""
    if array.ndim == 1:
        side = math.isqrt(array.size)
        if side < 2 or side * side != array.size:
            do = "store lists [height][width] or [height][width][3]"
            raise Undecodable("content", f"a list of {array.size} numbers is no square image", do)
        return array.reshape(side, side)
    return array.transpose(1, 2, 0) if channels_first(array.shape) else array


# --- classes ----------------------------------------------------------------------------------------------------------


def class_names(metadata: dict[bytes, bytes] | None, column: str) -> list[str]:
    """Names of the classes in Hugging Face's metadata, [] if there are none."""
    try:
        return names_in(json.loads((metadata or {})[b"huggingface"])["info"], column)
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def names_in(info: Any, column: str) -> list[str]:
    """Names of the classes in Hugging Face's description of a dataset, [] if there are none."""
    try:
        return [str(name) for name in info["features"][column]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def labels_by_first_rules(batches: Iterable[Any], classes: list[str], path: str) -> Iterator[list[str | None]]:
    """Labels as text, some at a time; numbers are indices into `classes`."""
    for values in batches:
        yield _by_distinct(values, classes, path, _as_it_is)


def labels_in(batches: Iterable[Any], classes: list[str], path: str) -> Iterator[list[str | None]]:
    """Labels as text, some at a time: numbers that are whole, of any type, and one-hot lists are indices.

    Raises:
        NotClasses: the values are something else.
        DataError: a text is too long for the name of a class.
    """
    length = 0
    distinct = set[str | None]()
    for values in batches:
        if _is_list(bare(values.type)):
            indices, length = _one_hot(values, length)
            labels = [None if i is None else _name(i, classes) for i in indices]
        else:
            labels = _by_distinct(values, classes, path, _whole)
        distinct.update(labels)
        if len(distinct) > MAX_CLASSES and _fractional(values.type):
            raise NotClasses(f"holds more than {MAX_CLASSES:,} different numbers")
        yield labels


def _fractional(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_floating(bare(kind)) or kinds.is_decimal(bare(kind)))


def _by_distinct(values: Any, classes: list[str], path: str, prepared: Any) -> list[str | None]:
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.types as kinds

    if isinstance(values, pyarrow.ExtensionArray):
        values = values.storage
    coded = kinds.is_dictionary(values.type)
    distinct = values.dictionary if coded else values
    if kinds.is_string_view(distinct.type):
        distinct = distinct.cast(pyarrow.large_string())
    if kinds.is_string(distinct.type) or kinds.is_large_string(distinct.type):
        longest = compute.max(compute.binary_length(distinct)).as_py() or 0
        if longest > MAX_LABEL_BYTES:
            raise DataError(path, f"a label is {longest:,} bytes long, not the name of a class", "use --labels none")
    texts = [_name(prepared(value), classes) for value in distinct.to_pylist()]
    return [None if i is None else texts[i] for i in values.indices.to_pylist()] if coded else texts


def _as_it_is(value: Any) -> Any:
    return value


def _whole(value: Any) -> Any:
    """A number without a fraction as an integer; None for one that is missing."""
    if not isinstance(value, float | Decimal):
        return value
    if value != value:
        return None
    if not math.isfinite(value) or value != int(value):
        raise NotClasses(f"holds numbers that are not whole ({value})")
    return int(value)


def _name(value: Any, classes: list[str]) -> str | None:
    has_name = isinstance(value, int) and 0 <= value < len(classes)
    return None if value is None else classes[value] if has_name else str(value)


def _one_hot(values: Any, length: int) -> tuple[list[int | None], int]:
    """The index of the only 1 in each list of 0 and 1, and the lists' length; lists of one number are that number.

    length: of the lists before, 0 if there were none.
    """
    import pyarrow
    import pyarrow.compute as compute

    if isinstance(values, pyarrow.ExtensionArray):
        values = values.storage
    present = values.drop_null()
    lengths = set(compute.list_value_length(present).unique().to_pylist()) | ({length} if length else set())
    if not lengths:
        return [None] * len(values), length
    if len(lengths) > 1 or lengths <= {0}:
        raise NotClasses("is a list of numbers, not always as many")
    (length,) = lengths
    numbers = present.flatten()
    what = NotClasses(f"is a list of {length:,} numbers")
    if numbers.null_count or length > MAX_CLASSES:
        raise what
    rows = numbers.to_numpy(zero_copy_only=False).reshape(-1, length)
    if length == 1:
        indices = iter([_whole(number.item()) for number in rows[:, 0]])
    elif np.isin(rows, (0, 1)).all() and (np.count_nonzero(rows, axis=1) == 1).all():
        indices = iter(rows.argmax(axis=1).tolist())
    else:
        raise what
    return [next(indices) if valid else None for valid in values.is_valid().to_pylist()], length
