"""Guided latents: the controls that follow a latent, of the seed or asked for.

Without wishes a seed has the controls of one of the training images that the model knows. With wishes it has those of one of the 32
that are nearest to what is asked for, so that the rest goes with it, and in it what is asked for replaces what was there. Which one is
a promise like the latent: word 0 of stream (seed, 2) of Philox4x32-10 as a fraction of 2^32, of the rows from the nearest on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kantor.controls import Guide
from kantor.sample.latents import latents, seed_uniforms

NEAREST = 32
"""Training images of which a seed has one, if something is asked for."""
_PURPOSE = 2

Asked = Mapping[str, float]
"""What is asked for by the names of `Guide.names`: {"x": 0.3, "y": 0.6}."""


def guided_latents(
    seeds: Sequence[int] | int, config: Any, guide: Guide | None, truncation: float = 1.0, asked: Asked | None = None
) -> NDArray[np.float32]:
    """The latents of `seeds`, with scaled controls behind if there is a guide: float32 [N, D + K].

    Args:
        config: of the generator: latent_dim and latent.
        truncation: of the latents alone.
        asked: for all seeds.
    """
    z = latents(seeds, config.latent_dim, config.latent, truncation)
    return z if guide is None else np.concatenate([z, scaled(guide, controls_of_seeds(guide, seeds, asked))], axis=1)


def controls_of_seeds(guide: Guide, seeds: Sequence[int] | int, asked: Asked | None = None) -> NDArray[np.float32]:
    """The controls of `seeds`, float32 [N, K], as images have them."""
    table, rows = guide.table.numpy(force=True), np.arange(len(guide.table))
    columns = [guide.names.index(name) for name in asked or ()]
    wished = np.array([*(asked or {}).values()], np.float32)
    if columns:
        far = scaled(guide, table)[:, columns] - scaled(guide, _replaced(table, columns, wished))[:1, columns]
        rows = np.argsort(np.square(far).sum(axis=1), kind="stable")[:NEAREST]
    share = seed_uniforms(seeds, 1, _PURPOSE)[:, 0]
    return _replaced(table[rows[(share * len(rows)).astype(np.int64)]], columns, wished)


def follow(
    guide: Guide, controls: NDArray[np.float32], paths: Mapping[str, Sequence[float]], loop: bool = False
) -> NDArray[np.float32]:
    """Scaled controls of a walk, float32 [F, K], with those in `paths` replaced: evenly through its numbers; a loop back to the first."""
    asked = np.zeros_like(controls)
    columns = [guide.names.index(name) for name in paths]
    for column, path in zip(columns, paths.values(), strict=True):
        stops = [*path, path[0]] if loop else [*path]
        at = np.linspace(0, 1, len(controls), endpoint=not loop)
        asked[:, column] = np.interp(at, np.linspace(0, 1, len(stops)), stops)
    changed = controls.copy()
    changed[:, columns] = scaled(guide, asked)[:, columns]
    return changed


def scaled(guide: Guide, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """`Guide.scaled` of float32 [N, K]."""
    result: NDArray[np.float32] = guide.scaled(torch.from_numpy(values).to(guide.table)).numpy(force=True)
    return result


def _replaced(rows: NDArray[np.float32], columns: Sequence[int], values: NDArray[np.float32]) -> NDArray[np.float32]:
    changed = rows.copy()
    changed[:, columns] = values
    return changed
