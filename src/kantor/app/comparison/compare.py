"""Compares runs: loads and measures them, and writes the page, its figures and its tables into a new folder."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kantor import atomic
from kantor.app.comparison import figures, tables
from kantor.app.comparison.conclusions import about_cost, about_losses, about_scores
from kantor.app.comparison.groups import Group, grouped, way_of
from kantor.app.comparison.load import ComparedRun, load_runs
from kantor.app.comparison.measure import main_score, score_names, with_scores
from kantor.app.comparison.options import CompareOptions
from kantor.app.output_paths import new_numbered
from kantor.errors import ConfigError
from kantor.progress import ProgressOf
from kantor.report.compare_page import ComparePage, Table, compare_html, tex_table
from kantor.report.overlay import overlay_png
from kantor.sample.grid import png_bytes

PAGE, SCORES, TABLE, CURVES = "compare.html", "scores.csv", "table.tex", "curves.csv"
FOLDER = "comparisons"
_FILES = {
    SCORES: "every score of every run",
    TABLE: "the table of scores for LaTeX (booktabs)",
    CURVES: "the rows of metrics.csv of all runs",
    "curves.png": "the curves of scores",
    "losses.png": "the curves of losses",
    "sheets.png": "images of the same seeds, a row for each run",
}


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Attributes:
        folder: with compare.html, figures and tables.
        conclusions: what may be concluded, sentence by sentence.
        scores: rows of the table of scores, its head first.
    """

    folder: Path
    conclusions: tuple[str, ...]
    scores: tuple[tuple[str, ...], ...]


def compare(options: CompareOptions, note: Callable[[str], None], progress_of: ProgressOf) -> Comparison:
    """Compares the runs that `options` names.

    Raises:
        ConfigError: nothing of them can be compared, or --out exists; ModelError: a run is missing or damaged.
    """
    if options.out is not None and (options.out.exists() or options.out.is_symlink()):
        raise ConfigError(f"--out {options.out}", "already exists", "choose a new folder")
    runs = load_runs(options.named, options.runs)
    groups = grouped(runs)
    if options.against is None:
        _require_something_alike(runs, groups)
    runs = with_scores(runs, options, note, progress_of)
    measured = {run.path: run for run in runs}
    groups = [Group(group.label, tuple(measured[run.path] for run in group.runs)) for group in groups]
    page, files = _contents(groups, score_names(runs), options)
    with _new_folder(options.out, runs[0].path.absolute().parent / FOLDER) as (folder, path):
        for name, data in files.items():
            atomic.write_bytes(folder / name, data)
        atomic.write_text(folder / PAGE, compare_html(page))
    table = (tuple(page.scores.head), *(tuple(row) for row in page.scores.rows))
    return Comparison(path, tuple(page.conclusions), table if page.scores.rows else ())


def _require_something_alike(runs: Sequence[ComparedRun], groups: Sequence[Group]) -> None:
    """Raises ConfigError if no two runs have the same images at the same size, nor scores that were measured alike."""
    if len({run.data for run in runs}) < len(runs):
        return
    for name in score_names(runs):
        found = [way_of(run, name) for run in runs if way_of(run, name)]
        if len({*found}) < len(found):
            return
    listed = ", ".join(f"{run.name} has {run.summary.data} at {run.config.data.size}" for run in runs[:3])
    do = "measure all models against the same images with --against DATA, if their images have one size"
    raise ConfigError("compare", f"nothing can be compared: {listed}", do)


def _contents(
    groups: Sequence[Group], names: Sequence[str], options: CompareOptions
) -> tuple[ComparePage, dict[str, bytes]]:
    """The page, and the other files by name."""
    runs = [run for group in groups for run in group.runs]
    main = main_score(runs)
    scores, cost = tables.score_table(groups, names), tables.cost_table(groups)
    title, kinds = _title(groups), " and ".join(f"{group.label} (n = {len(group.runs)})" for group in groups)
    sizes = list(dict.fromkeys(f"{run.summary.data} at {run.config.data.size} pixels" for run in runs))
    score_panels, (loss_panels, loss_notes) = figures.score_panels(groups, names), figures.loss_panels(groups)
    sheets, rows, sheet_note = figures.sheets(groups)
    files = {
        SCORES: tables.scores_csv(groups, names).encode(),
        TABLE: tex_table(scores, f"{title}; {_measured_on(runs, main)}").encode(),
        CURVES: tables.curves_csv(groups).encode(),
    }
    for name, panels, columns in (("curves.png", score_panels, 2), ("losses.png", loss_panels, 3)):
        if panels:
            files[name] = overlay_png(panels, title, columns)
    if rows is not None:
        files["sheets.png"] = png_bytes(rows)
    page = ComparePage(
        title=title,
        lead=f"{kinds}, trained on {', '.join(sizes)}.",
        conclusions=[*_about_data(runs), *about_scores(groups, main), *about_cost(groups), *about_losses(groups)],
        scores=scores if names else Table((), ()),
        each=tables.each_run(groups, names),
        differences=tables.difference_table(groups, names),
        sheets=sheets,
        sheet_note=sheet_note,
        key=figures.key(groups),
        curves=figures.svgs(score_panels, "score"),
        losses=figures.svgs(loss_panels, "loss"),
        loss_notes=[*about_losses(groups), *loss_notes],
        cost=cost,
        settings=tables.settings_table(groups),
        files=[(name, what) for name, what in _FILES.items() if name in files],
        command=_command(options),
    )
    return page, files


def _title(groups: Sequence[Group]) -> str:
    labels = [group.label for group in groups]
    if len(labels) == 1:
        return f"{labels[0]}, {len(groups[0].runs)} seeds"
    return " against ".join(labels) if len(labels) < 4 else f"{len(labels)} kinds of training"


def _measured_on(runs: Sequence[ComparedRun], main: str) -> str:
    origin = next((run.measured.provenance for run in runs if main in run.measured.scores), {})
    if not {"drawn", "reals", "extractor"} <= origin.keys():
        return "no scores"
    return f"{origin['drawn']:,} generated and {origin['reals']:,} real images, features of {origin['extractor']}"


def _about_data(runs: Sequence[ComparedRun]) -> list[str]:
    if len({run.data for run in runs}) == 1:
        return []
    return [
        "Not all of these were trained on the same images at the same size: what they reached depends on that as well."
    ]


def _command(options: CompareOptions) -> str:
    words = ["kantor", "compare", *options.named]
    given = {
        "--against": options.against,
        "--metrics": options.metrics,
        "--features": options.features,
        "--count": options.count,
    }
    for flag, value in given.items():
        if value is not None:
            words += [flag, ",".join(value) if isinstance(value, list | tuple) else str(value)]
    if options.runs != Path("runs"):
        words += ["--runs", str(options.runs)]
    return shlex.join(words)


@contextlib.contextmanager
def _new_folder(out: Path | None, parent: Path) -> Iterator[tuple[Path, Path]]:
    """A temporary folder and the path that it gets: `out`, or the next number in `parent`."""
    if out is None:
        with new_numbered(parent) as path, atomic.new_folder(path, exist_ok=True) as temporary:
            yield temporary, path
        return
    try:
        with atomic.new_folder(out) as temporary:
            yield temporary, out
    except FileExistsError as error:
        raise ConfigError(f"--out {out}", "already exists", "choose a new folder") from error
