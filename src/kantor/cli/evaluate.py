"""`kantor evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kantor.cli import completion
from kantor.cli.options import (
    Cache,
    Channels,
    Checkpoint,
    Crop,
    Device,
    Fit,
    MaxBad,
    Raw,
    Runs,
    Size,
    Truncation,
    data_overrides,
    show,
    show_progress,
    tell,
)
from kantor.progress import all_silent


def add_to(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|FOLDER",
            help="Run, checkpoint or generator.safetensors; or images: a folder, archive or packed set.",
            autocompletion=completion.runs,
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(help="The real images; default: those that the run learnt from.", show_default=False),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Which scores, with commas: fd, kid, is, pr, dc, swd, msssim, nn, modes, w2, sinkhorn, critic; or all. "
            "What each tells stands in docs/scores.md. Default: the usual ones.",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        str, typer.Option(help="kantor-small, random, or inception:FILE with the weights.")
    ] = "kantor-small",
    count: Annotated[str, typer.Option(help="Images on each side, at most: 2000, 10k.")] = "10k",
    seed: Annotated[int, typer.Option(min=0, help="Other seeds draw other images.")] = 0,
    held_out: Annotated[bool, typer.Option("--held-out", help="Compare with the images held out of training.")] = False,
    compare: Annotated[
        Path | None,
        typer.Option(help="scores.json of an earlier evaluation: show what has changed.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for scores.json and the images; default: evaluations in the run.", show_default=False
        ),
    ] = None,
    size: Size = None,
    crop: Crop = None,
    fit: Fit = None,
    channels: Channels = None,
    max_bad: MaxBad = None,
    truncation: Truncation = 1.0,
    raw: Raw = False,
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    cache: Cache = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier --out.")] = False,
) -> None:
    """Measure how near drawn images come to real ones, how varied they are, and whether they are copies.

    Every number comes with a 95% interval and with what real images get in its place.
    """
    from kantor.app import units
    from kantor.app.evaluation import write
    from kantor.app.evaluation.evaluate import EvaluateOptions, evaluate_subject
    from kantor.app.output_paths import require_free

    options = EvaluateOptions(
        model, against, None if metrics is None else [metrics], features, units.count(count, "--count"), seed,
        data_overrides(size, crop, fit, channels, None, max_bad), held_out, raw, checkpoint, truncation, compare, device,
        runs, cache,
    )  # fmt: skip
    if out is not None:
        require_free(out, overwrite, write.OURS)

    def note(line: str) -> None:
        if not as_json:
            show(line)

    with show_progress() as progress_of:
        found = evaluate_subject(options, note, all_silent if as_json else progress_of)
    folder = out or (write.next_folder(found.subject.run) if found.subject.run else None)
    written = write.write(found, folder, overwrite) if folder else []
    if as_json:
        told = found.scores.as_json()
        if found.compared is not None:
            told["comparison"] = {name: one.as_json() for name, one in found.compared.items()}
        tell(json.dumps(told, allow_nan=False))
        return
    for line in [*write.about(found), *write.table(found)]:
        tell(line)
    if compare is not None:
        tell("")
        for line in write.comparison(found, compare):
            tell(line)
    if written:
        show(f"written: {', '.join(path.name for path in written)} in {folder}")
    elif found.training is not None:
        show("add --out DIR for the sheet of nearest images and the histograms")
