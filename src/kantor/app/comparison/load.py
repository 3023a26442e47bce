"""Runs to compare, out of the files in their directories."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from kantor.app import environment
from kantor.app.dataset.image_size import configured_spec
from kantor.app.run_list.summary import RunSummary, images_of_model, summarize
from kantor.config.io import layered, read_toml
from kantor.config.schema import Config
from kantor.errors import ConfigError, DataError, ModelError
from kantor.metrics.score import Score, Scores
from kantor.nets import build_critic, build_generator
from kantor.report.curve_data import Column, without_abandoned
from kantor.runs import directory
from kantor.runs.moment import saved_states
from kantor.sinks.metrics_csv import read_metrics

MOST_RUNS = 64


@dataclass(frozen=True)
class Cost:
    """What a run has cost so far; None for what is not known.

    Attributes:
        images: real images shown to the critic; seconds: of training.
        generator_steps, critic_steps: done.
        generator_size, critic_size: parameters.
    """

    images: int | None
    seconds: float | None
    generator_steps: int | None
    critic_steps: int | None
    generator_size: int | None
    critic_size: int | None

    @property
    def images_per_second(self) -> float | None:
        return self.images / self.seconds if self.images and self.seconds else None


@dataclass(frozen=True)
class ComparedRun:
    """A run beside others.

    Attributes:
        env: environment.json.
        metrics: columns of metrics.csv, without rows that a roll-back undid.
        summary: among others its scores, at the moment of the model that is drawn.
        measured: the scores to compare: those of `summary`, of an evaluation of this model, or measured afresh.
    """

    path: Path
    config: Config
    env: Mapping[str, Any]
    metrics: Mapping[str, Column]
    summary: RunSummary
    measured: Scores
    cost: Cost

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def seed(self) -> int:
        return self.config.train.seed

    @property
    def data(self) -> tuple[str, str, str]:
        """Equal for runs on the same images at the same size: fingerprint, size, channels."""
        return str(self.env.get("data_fingerprint", "")), self.config.data.size, self.config.data.channels


def load_runs(named: Sequence[str], runs: Path) -> list[ComparedRun]:
    """The runs of these names, each once.

    Raises:
        ConfigError: fewer than two, or too many; ModelError: there is no such run, or it is damaged.
    """
    found: dict[Path, Path] = {}
    for text in named:
        path = directory.find(text, runs)
        found.setdefault(path.resolve(), path)
    if len(found) < 2:
        what = "one run cannot be compared" if len(named) < 2 else "these are names of one and the same run"
        raise ConfigError("compare", what, "name two or more: kantor compare RUN RUN")
    if len(found) > MOST_RUNS:
        raise ConfigError("compare", f"{len(found)} runs are too many for a page", f"name {MOST_RUNS} at most")
    return [_load(path) for path in found.values()]


def _load(run: Path) -> ComparedRun:
    summary = summarize(run)
    if summary.state == "damaged":
        raise ModelError(run, f"is damaged: {summary.problem}", "leave it out, or restore a copy")
    try:
        config = layered(Config(), read_toml(run / directory.CONFIG), str(run / directory.CONFIG))
        metrics, _ = without_abandoned(read_metrics(run / directory.METRICS))
    except (ConfigError, DataError) as error:
        raise ModelError(error.where, error.what, error.do) from error
    env = environment.read(run / directory.ENVIRONMENT)
    measured = Scores(summary.scores, summary.provenance)
    return ComparedRun(run, config, env, metrics, summary, measured, _cost(run, config, env, summary))


def evaluations_of(run: ComparedRun) -> list[Scores]:
    """What `kantor evaluate` measured of the model that is drawn, of all its classes together, the newest first."""
    drawn = images_of_model(run.path / directory.GENERATOR) or run.summary.scored_at
    files = run.path.glob(f"{directory.EVALUATIONS}/*/scores.json")
    found = []
    for file in sorted(files, key=lambda file: file.parent.name, reverse=True):
        with contextlib.suppress(DataError):  # torn, or of another version
            scores = Scores.read(file)
            origin = scores.provenance
            usual = origin.get("truncation") in (None, 1) and not origin.keys() & {"raw", "classes", "per_class"}
            if usual and origin.get("images_seen") == drawn:
                found.append(scores)
    return found


def _cost(run: Path, config: Config, env: Mapping[str, Any], summary: RunSummary) -> Cost:
    counters = _counters(run)
    generator, critic = _sizes(config, env)
    return Cost(
        summary.images_seen,
        summary.elapsed_s,
        counters.get("generator_steps"),
        counters.get("critic_steps"),
        generator,
        critic,
    )


def _counters(run: Path) -> dict[str, int]:
    """Steps done, as the newest checkpoint that can be read has them."""
    for _, state in saved_states(run):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return {name: int(state["counters"][name]) for name in ("generator_steps", "critic_steps")}
    return {}


def _sizes(config: Config, env: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Parameters of generator and critic, without class embeddings; None for a network of the user's own."""
    if (spec := configured_spec(config)) is None:
        return None, None
    more: dict[str, Any] = {"condition": environment.condition_channels(config, env), "guide": config.guide.controls}
    generator, critic = config.generator, config.critic
    with torch.device("meta"):  # counts parameters without allocating them; code of the user's may not be there
        return (
            None if generator.kind == "custom" else _size(build_generator(generator, spec, **more)),
            None if critic.kind == "custom" else _size(build_critic(critic, spec, **more)),
        )


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def last_value(run: ComparedRun, column: str) -> float | None:
    """The last number in a column of metrics.csv."""
    values = run.metrics.get(column, np.zeros(0))
    values = values[np.isfinite(values)]
    return float(values[-1]) if len(values) else None


def finite(score: Score | None) -> float | None:
    """The value of a score, None if there is none."""
    return None if score is None or not np.isfinite(score.value) else score.value
