"""What a user asks of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kantor.app import units
from kantor.app.flags import DataOptions, ModelOptions
from kantor.app.options import option

DEFAULT_COUNT = 10_000


def feature_names(value: str | Sequence[str], where: str = "") -> list[str]:
    """["kantor-small", "lite0@96"], also of text with a comma. The file of inception:FILE may have commas in its path."""
    if isinstance(value, str) and value.startswith("inception:") and Path(value.partition(":")[2]).is_file():
        return [value]
    return list(dict.fromkeys(units.names(value, where)))


# What the user reads is on one line, what Kantor does with it on the next.
# fmt: off


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ModelOptions, DataOptions):
    """Options of `kantor evaluate` and `kantor.evaluate`."""

    subject: str = option(
        "Run, checkpoint or generator.safetensors; or images: a folder, archive or packed dataset", "MODEL|FOLDER",
        required=True, word="model", complete="runs", positional=True,
    )
    against: str | None = option("Compare with these real images", "DATA", otherwise="the run's training set")
    metrics: Sequence[str] | None = option(
        "Measure these: fd, mind, cdc, kid, is, pr, dc, swd, msssim, nn, modes, w2, sinkhorn, critic, controls; or all; see docs/scores.md",
        "LIST", parse=units.names, otherwise="the usual ones",
    )
    features: Sequence[str] | None = option(
        "Extract features with kantor-small, lite0@96, random, or inception:FILE with the weights; or several", "LIST",
        parse=feature_names, otherwise="kantor-small, and lite0@96 for fd, mind and cdc of 2,000 images where installed",
    )
    count: int | None = option(
        "Take at most N images of each kind: 2000, 10k", "N", parse=units.scored,
        otherwise=f"{DEFAULT_COUNT:,}, or that of --compare",
    )
    classes: Sequence[str] = option(
        "Generate these classes alone, and compare them with real images of the same: A,B", "NAME",
        default=(), flags=("--class",), repeat=True, parse=units.texts, otherwise="as often as in the real images, or that of --against",
    )
    per_class: bool = option("Score each class against its own real images, and give the mean", default=False)
    seed: int | None = option(
        "Generate other images with another seed", "N", min=0, otherwise="0, or that of --compare",
    )
    held_out: bool = option("Compare with the held-out set", default=False)
    compare: Path | None = option("Show what has changed since this scores.json, or the newest of a run", "FILE", cli_only=True)
    out: Path | None = option("Write scores.json and images to this folder", "DIR", otherwise="evaluations in the run")
    json: bool = option("Print one JSON object and nothing else", default=False, cli_only=True)
    overwrite: bool = option("Replace an earlier --out", default=False)

    @property
    def image_count(self) -> int:
        """Images of each kind, at most."""
        return DEFAULT_COUNT if self.count is None else self.count

    @property
    def first_seed(self) -> int:
        return self.seed or 0
