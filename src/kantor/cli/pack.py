"""`kantor pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kantor.cli import completion
from kantor.cli.options import Cache, Channels, Crop, Fit, Labels, MaxBad, Size, data_overrides, show, show_progress
from kantor.config.io import parse_override
from kantor.errors import ConfigError


def add_to(app: typer.Typer) -> None:
    app.command("pack")(pack)


def pack(
    source: Annotated[
        list[str],
        typer.Argument(help="Folder of images, zip, tar, .npy, .npz, IDX, TFRecord, Parquet, or glyphs; or several."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the packed set; made by this command.")],
    size: Size = None,
    crop: Crop = None,
    fit: Fit = None,
    channels: Channels = None,
    labels: Labels = None,
    max_bad: MaxBad = None,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Pack nothing: look at the images and write what was found to --out.")
    ] = False,
    format_: Annotated[
        str, typer.Option("--format", help="npy for Kantor; tfrecord or webdataset for other programs.")
    ] = "npy",
    cache: Cache = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="data.FIELD=VALUE",
            help=r"Any field of \[data].",
            show_default=False,
            autocompletion=completion.pack_fields,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")] = False,
) -> None:
    """Bring images to one size, once, into a folder that training reads fast.

    A bad image never stops it: each is listed with its reason in rejected.jsonl. Killed, it goes on where it was.
    """
    from kantor.app.dataset.pack import pack_source

    overrides = data_overrides(size, crop, fit, channels, labels, max_bad)
    overrides |= {"data.source": source[0]} | dict(parse_override(text) for text in set_ or [])
    if inspect:
        if len(source) > 1:
            raise ConfigError("--inspect", "looks at one SOURCE", "name one at a time")
        from kantor.app.dataset.inspect import inspect as look

        with show_progress() as progress_of:
            found = look(overrides, out, overwrite, progress_of("packing"))
        for line in found:
            show(line)
        return
    with show_progress() as progress_of:
        lines = pack_source(overrides, out, overwrite, progress_of("packing"), format_, source[1:], cache)
    for line in lines:
        show(line)
    show(f"packed set: {out}" if format_ == "npy" else f"written to {out}")
