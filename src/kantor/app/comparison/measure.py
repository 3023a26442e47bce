"""Which scores of runs are compared: their own, those of an evaluation, or new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from kantor.app.comparison.load import ComparedRun, evaluations_of
from kantor.app.comparison.options import CompareOptions
from kantor.app.evaluation.evaluate import evaluate_subject
from kantor.app.evaluation.options import DEFAULT_COUNT, EvaluateOptions
from kantor.errors import ConfigError
from kantor.metrics.score import BETTER, Scores, kind, may_differ_for, measured_how, provenance_of, require_comparable
from kantor.progress import ProgressOf

METRICS = ("fd", "kid", "pr")


def with_scores(
    runs: Sequence[ComparedRun], options: CompareOptions, note: Callable[[str], None], progress_of: ProgressOf
) -> list[ComparedRun]:
    """The runs with the scores to compare.

    With --against they are measured afresh. Else they are those of evaluations, if all runs have such that are alike, or
    those that the runs measured themselves.

    Raises ConfigError if flags need --against, or the new scores of no two runs can be compared.
    """
    if options.against is not None:
        return _measured(runs, options, note, progress_of)
    for flag in ("metrics", "features", "count"):
        if getattr(options, flag) is not None:
            what = "says how to measure, and without --against nothing is measured"
            raise ConfigError(f"--{flag}", what, "add --against DATA, or leave it out")
    evaluated = [next(iter(evaluations_of(run)), None) for run in runs]
    found = [scores for scores in evaluated if scores is not None]
    if len(found) == len(runs) and _alike(found) == len(runs):
        note("scores are those of kantor evaluate")
        return [replace(run, measured=scores) for run, scores in zip(runs, found, strict=True)]
    return list(runs)


def _measured(
    runs: Sequence[ComparedRun], options: CompareOptions, note: Callable[[str], None], progress_of: ProgressOf
) -> list[ComparedRun]:
    measured = []
    for i, run in enumerate(runs, 1):
        note(f"measuring {run.name} ({i} of {len(runs)})")
        asked = EvaluateOptions(
            subject=str(run.path), against=options.against, metrics=options.metrics or METRICS,
            features=options.features or ("kantor-small",), count=options.count or DEFAULT_COUNT,
            cache=options.cache, device=options.device, runs=options.runs,
        )  # fmt: skip
        measured.append(replace(run, measured=evaluate_subject(asked, note if i == 1 else _silent, progress_of).scores))
    if _alike([run.measured for run in measured]) < 2:
        name = main_score(measured)
        mine, other = (provenance_of(name, run.measured.provenance) for run in measured[:2])
        require_comparable(mine, other, may_differ_for(name))
    return measured


def _silent(line: str) -> None:
    pass


def _alike(scores: Sequence[Scores]) -> int:
    """Of so many runs at most a score was measured alike."""
    counts = Counter(
        (name, measured_how(name, each.provenance)) for each in scores for name in each if kind(name) in BETTER
    )
    return max(counts.values(), default=0)


def main_score(runs: Sequence[ComparedRun]) -> str:
    """The score that is talked about: that by which most runs chose their model, if it was measured; "" without scores."""
    names = Counter(name for run in runs for name in run.measured.scores if kind(name) in BETTER)
    chosen = [run.summary.main_score for run in runs if run.summary.main_score in names]
    return next(
        iter([name for name, _ in Counter(chosen).most_common()] or [name for name, _ in names.most_common()]), ""
    )


def score_names(runs: Sequence[ComparedRun]) -> list[str]:
    """All scores of which one way is better, the main one first."""
    names = dict.fromkeys(name for run in runs for name in run.measured.scores if kind(name) in BETTER)
    first = main_score(runs)
    return [first, *(name for name in names if name != first)] if first else []
