"""What a user asks of packing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kantor.app import units
from kantor.app.flags import LabelledDataOptions
from kantor.app.options import option
from kantor.errors import ConfigError

# What the user reads is on one line, what Kantor does with it on the next.
# fmt: off


@dataclass(frozen=True, kw_only=True)
class PackOptions(LabelledDataOptions):
    """Options of `kantor pack` and `kantor.pack`."""

    sources: Sequence[str] = option(
        "Folder of images, archive, array, table, or glyphs (docs/data.md lists all kinds); or several", "SOURCE",
        required=True, repeat=True, positional=True,
    )
    out: Path = option("Write the packed dataset to this folder", "DIR", required=True)
    inspect: bool = option("Examine the images and write a report to --out; packs into the cache only", default=False)
    format: str = option("Write npy for Kantor, or tfrecord or webdataset for other programs", "KIND", default="npy")
    overrides: Mapping[str, Any] = option(
        "Set any field of [data]; may be repeated", "data.FIELD=VALUE",
        default_factory=dict, flags=("--set",), parse=units.settings, repeat=True, complete="pack_fields",
    )
    overwrite: bool = option("Replace what is at --out", default=False)

    def __post_init__(self) -> None:
        if other := next((name for name in self.overrides if name.partition(".")[0] != "data"), None):
            raise ConfigError(f"--set {other}", "packing reads [data] alone", "leave it out, and give it to kantor train")

    @property
    def fields(self) -> dict[str, Any]:
        """Dotted fields of the configuration, those of the first source among them."""
        return {**super().fields, "data.source": str(self.sources[0]), **self.overrides}
