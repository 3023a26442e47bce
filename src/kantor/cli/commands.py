"""The commands, except `kantor train`. Each imports what it runs when it is called, so that --help is quick."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from kantor.app.comparison.options import CompareOptions
from kantor.app.dataset.options import PackOptions
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.flags import DeviceOptions, RunsOptions
from kantor.app.options import Options, option
from kantor.app.sampling.options import (
    ClassesOptions,
    ComposeOptions,
    GenerateOptions,
    PaintOptions,
    SonifyOptions,
    UpscaleOptions,
    WalkOptions,
)
from kantor.cli.imports import without_collection
from kantor.cli.terminal import counted, show, show_progress, tell
from kantor.errors import ConfigError
from kantor.progress import all_silent

_CLASSES_HEADER = ("class", "name", "training images")


def pack(options: PackOptions) -> None:
    """Resize images once, into a packed dataset that training reads fast.

    Unreadable images are rejected and listed, with the reason, in rejected.jsonl.
    If interrupted, run it again: it continues.
    """
    from kantor.app.dataset.inspect import inspect
    from kantor.app.dataset.pack import pack_source

    if options.inspect and len(options.sources) > 1:
        raise ConfigError("--inspect", "takes one SOURCE", "name one at a time")
    with show_progress() as progress_of:
        progress = progress_of("packing")
        if options.inspect:
            lines = inspect(options.fields, options.out, options.overwrite, progress, options.cache)
        else:
            lines = pack_source(options, progress)
    for line in lines:
        show(line)
    if not options.inspect and options.format == "npy":
        show(f"wrote the packed dataset to {options.out}")


def generate(options: GenerateOptions) -> None:
    """Generate images from a trained generator: a grid, and one file per seed.

    A seed always gives the same image of a model, however many are generated together.
    """
    with without_collection():
        from kantor.app.sampling import generate as job

    with show_progress() as progress_of:
        written = job.generate(options, progress_of("generating"), show)
    show(f"wrote {counted(written.count, 'image')} to {written.place}")
    if written.sheet is not None:
        show(f"grid: {written.sheet}")


def classes(options: ClassesOptions) -> None:
    """List the classes of a model: number, name, and how many images of it there were in training."""
    from kantor.app.sampling.classes import list_classes

    found = list_classes(options.model, options.runs)
    if options.json:
        tell(json.dumps({"classes": [asdict(one) for one in found]}))
        return
    if not found:
        tell("no classes: the model was trained without --conditional")
        return
    rows = [(str(one.number), one.name, "unknown" if one.images is None else f"{one.images:,}") for one in found]
    number, name, images = (max(map(len, column)) for column in zip(_CLASSES_HEADER, *rows, strict=True))
    for row in (_CLASSES_HEADER, *rows):
        tell(f"{row[0]:>{number}}  {row[1]:{name}}  {row[2]:>{images}}")


def walk(options: WalkOptions) -> None:
    """Walk from image to image: an animation, a video, a strip of images, or frames.

    Seeds are those of kantor generate, and the image of each seed is part of the walk.
    """
    with without_collection():
        from kantor.app.sampling import walk as job

    with show_progress() as progress_of:
        path, count = job.make_walk(options, progress_of("generating"), show)
    show(f"wrote {count:,} images to {path}")


def paint(options: PaintOptions) -> None:
    """Generate lines with one model and colour them with another; or colour your own lines.

    Writes each painting with its lines, and a grid of all.

    A model trained on other pairs (data.condition) takes images such as masks instead of lines.

    Or run a pipeline, a TOML file that names stages: lines, colours, ground, layout, objects, assemble, upscale.
    """
    with without_collection():
        from kantor.app.sampling import paint as job
        from kantor.app.sampling import pipeline

    if pipeline.is_pipeline(options.lines):
        with show_progress() as progress_of:
            grid, folder, count = pipeline.paint_by_stages(options, progress_of("painting"))
    else:
        grid, folder, count = job.paint(options)
    show(f"wrote {counted(count, 'painting')} to {folder}")
    show(f"grid: {grid}")


def compose(options: ComposeOptions) -> None:
    """Put generated sprites into pictures, or onto a sprite sheet for game tools.

    The model must generate images with transparency (--channels rgba).
    """
    with without_collection():
        from kantor.app.sampling import compose as job

    with show_progress() as progress_of:
        written = job.compose(options, progress_of("composing"), show)
    where = "one sheet" if options.atlas else counted(written.images, "picture")
    show(f"put {counted(written.sprites, 'sprite')} into {where}")
    show(f"wrote them to {written.place}, with {job.ATLAS + '.json' if options.atlas else job.PLACES}")


def upscale(options: UpscaleOptions) -> None:
    """Enlarge pictures, or the generated images of a run, with a model trained by --preset upscale.

    With --measure, reduce pictures first, and print how close the model comes to them, beside bicubic enlargement.
    These are pictures held out of its training, or others that you name.
    """
    with without_collection():
        from kantor.app.sampling import measure_upscaling
        from kantor.app.sampling import upscale as job

    with show_progress() as progress_of:
        if options.measure:
            measured, folder = measure_upscaling.measure(options, progress_of("measuring"), show)
        else:
            done = job.upscale(options, progress_of("enlarging"), show)
    if not options.measure:
        show(f"wrote {counted(done.count, 'picture')} to {done.folder}")
        return
    for line in measure_upscaling.table(measured):
        tell(line)
    show(f"wrote {measure_upscaling.SCORES} and {measure_upscaling.STRIP} to {folder}")


def sonify(options: SonifyOptions) -> None:
    """Turn images into sound, scanning from top left to bottom right.

    Left and right are heard left and right; pitch and loudness tell brightness, and timbre tells colour.
    """
    with without_collection():
        from kantor.app.sampling import sonify as job

    with show_progress() as progress_of:
        count, notes = job.make_sounds(options, progress_of("making sounds"))
    for note in notes:
        show(f"note: {note}")
    show(f"wrote {counted(count, 'sound')} to {options.out}")


def evaluate(options: EvaluateOptions) -> None:
    """Measure how close generated images are to real ones, how diverse they are, and whether they are copies.

    Every score comes with a 95% interval, and with the score that real images get.
    """
    from kantor.app.evaluation.earlier import read_earlier

    read_earlier(options)  # a file that cannot be used is refused before anything slow is imported
    with without_collection():
        from kantor.app.evaluation import write
        from kantor.app.evaluation.evaluate import evaluate_subject

    folder = write.ScoresFolder(options)
    try:
        with show_progress() as progress_of:
            note = (lambda line: None) if options.json else show
            progress_of = all_silent if options.json else progress_of
            found = evaluate_subject(options, note, progress_of, keep=folder.keep)
        written = folder.finish(found)
    except BaseException:
        if folder.path is not None and not options.json:
            show(f"what was measured is in {folder.path / write.SCORES}")
        raise
    if options.json:
        result = found.scores.as_json()
        if found.comparisons is not None:
            result["comparison"] = {name: comparison.as_json() for name, comparison in found.comparisons.items()}
            result["disagreement"] = found.comparisons.disagreement or None
        tell(json.dumps(result, allow_nan=False))
        return
    compared = [] if options.compare is None else ["", *write.comparison(found, options.compare)]
    for line in [*write.about(found), *write.table(found), *compared]:
        tell(line)
    if written:
        show(f"wrote {', '.join(path.name for path in written)} to {folder.path}")
    elif found.training is not None:
        show("add --out DIR for the grid of nearest images and the histograms")


@dataclass(frozen=True, kw_only=True)
class ReportOptions(RunsOptions):
    """Options of `kantor report`."""

    run: str = option("Run: directory, number, name or latest", "RUN", required=True, complete="runs", positional=True)
    table: bool = option("Print a table of losses instead", default=False)
    epochs: bool = option("Print one line per epoch, with --table", default=False)


def report(options: ReportOptions) -> None:
    """Write the report of a run: images over time, loss curves and what they mean, settings, how to repeat it.

    The report is one file, report.html in the run directory, and works offline.
    """
    from kantor.app import write_report as job
    from kantor.runs import directory

    if options.epochs and not options.table:
        raise ConfigError("--epochs", "changes the table of losses, not the page", "add --table")
    run = directory.find(options.run, options.runs)
    if options.table:
        for line in job.table(run, options.epochs):
            tell(line)
        return
    show(f"report: {job.write_report(run)}")


@dataclass(frozen=True, kw_only=True)
class PresetsOptions(Options):
    """Options of `kantor presets`."""

    name: str | None = option("Preset to print", "NAME", complete="presets", positional=True)


def presets(options: PresetsOptions) -> None:
    """List the presets that come with Kantor, or print one."""
    from kantor.config.io import preset_names, preset_text

    if options.name is not None:
        for line in preset_text(options.name).rstrip().splitlines():
            tell(line)
        return
    width = max(map(len, preset_names()))
    for preset in preset_names():
        first_line = preset_text(preset).splitlines()[0].removeprefix("# ")
        tell(f"{preset:{width}} {first_line}")


def doctor(options: DeviceOptions) -> int:
    """Check this machine: versions, devices, free disk, and a moment of training."""
    from kantor.app.doctor import examine

    findings = examine(options.device)
    for good, text in findings:
        tell(f"{'ok  ' if good else 'BAD '} {text}")
    works = all(good for good, _ in findings)
    tell("everything that training needs works here" if works else "training will not work here: see above")
    return 0 if works else 5


def selftest(options: DeviceOptions) -> int:
    """Prove the maths on this machine: losses, penalties, second derivatives and updates against closed forms."""
    from kantor.app.selftest import prove
    from kantor.engine.device import choose_device, describe_device

    device = choose_device(options.device)
    tell(f"on {describe_device(device)}:")
    failed = count = 0
    for proof in prove(device):
        count += 1
        failed += not proof.holds
        tell(f"{'ok  ' if proof.holds else 'BAD '} {proof.name}: {proof.error:.2g} off, bound {proof.bound:.2g}")
    tell(f"{failed} of {count} proofs fail: please report this" if failed else f"all {count} proofs hold")
    return 70 if failed else 0


def compare(options: CompareOptions) -> None:
    """Compare runs on one page: curves, images of the same seeds, scores over seeds, cost, and what may be concluded.

    Runs whose settings differ only in the seed count as repeats of one training.
    Scores that were measured differently are never compared; --against DATA measures all models alike.
    """
    from kantor.app.comparison.compare import PAGE
    from kantor.app.comparison.compare import compare as job
    from kantor.report.table import columns

    with show_progress() as progress_of:
        found = job(options, show, progress_of)
    for line in columns(found.scores):
        tell(line)
    for line in found.conclusions:
        tell(line)
    show(f"page: {found.folder / PAGE}")
