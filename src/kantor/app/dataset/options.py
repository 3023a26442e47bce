"""What a user asks of packing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from kantor.app import units
from kantor.app.flags import Cache, Channels, Crop, Fit, Labels, MaxBad, Size
from kantor.app.options import Flag, Options


@dataclass(frozen=True, kw_only=True)
class PackOptions(Options):
    """Options of `kantor pack` and `kantor.pack`."""

    sources: Annotated[
        Sequence[str],
        Flag(
            "Folder of images, zip, tar, .npy, .npz, IDX, TFRecord, Parquet, or glyphs; or several",
            metavar="SOURCE",
            type=list[str],
            positional=True,
        ),
    ]
    out: Annotated[Path, Flag("Write the packed dataset to this folder", metavar="DIR")]
    size: Size = None
    crop: Crop = None
    fit: Fit = None
    channels: Channels = None
    labels: Labels = None
    max_bad: MaxBad = None
    inspect: Annotated[bool, Flag("Pack nothing: examine the images and write a report to --out")] = False
    format: Annotated[
        str, Flag("Write npy for Kantor, or tfrecord or webdataset for other programs", metavar="KIND")
    ] = "npy"
    cache: Cache = None
    overrides: Annotated[
        Mapping[str, Any],
        Flag(
            "Set any field of [data]; may be repeated",
            flags=("--set",),
            metavar="data.FIELD=VALUE",
            parse=units.settings,
            type=list[str],
            complete="pack_fields",
        ),
    ] = field(default_factory=dict)
    overwrite: Annotated[bool, Flag("Replace what is at --out")] = False

    @property
    def fields(self) -> dict[str, Any]:
        """Dotted fields of the configuration, those of the first source among them."""
        return {**super().fields, "data.source": str(self.sources[0]), **self.overrides}
