"""Seeds of images: seed 17 is the same point in latent space for ever, on any machine, at any batch size.

The random generator is a promise (docs and the exported page hold a twin): words of Philox4x32-10 with counter
(i, 1, 0, 0) and key (low, high word of the seed) become u = (word + 0.5) / 2^32 and are taken in pairs (u1, u2).
Box-Muller makes of a pair the two coordinates sqrt(-2 ln u1) cos(2 pi u2) and sqrt(-2 ln u1) sin(2 pi u2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kantor.errors import ConfigError
from kantor.random import philox

PURPOSE = 1
LARGEST_SEED = 2**64 - 1
_CHUNK = 4096


def latents(
    seeds: Sequence[int] | int, dim: int, kind: Literal["normal", "uniform", "unit"] = "normal", truncation: float = 1.0
) -> NDArray[np.float32]:
    """The latents that belong to `seeds`; each depends on its own seed alone.

    Fewer dimensions are a prefix of more.

    Args:
        seeds: one seed or N of them, from 0 to 2^64 - 1.
        dim: coordinates of a latent.
        kind: "normal" N(0, 1), "uniform" in (-1, 1), or "unit" in (0, 1).
        truncation: scales towards the mean of the distribution; 1 changes nothing.
    Returns:
        float32 [N, dim].
    Raises:
        ConfigError: a seed is out of range.
    """
    keys = _keys(seeds)
    mean = 0.5 if kind == "unit" else 0.0
    result = np.empty((len(keys), dim), np.float32)
    for start in range(0, len(keys), _CHUNK):
        z = u = _uniforms(keys[start : start + _CHUNK], dim + dim % 2)
        if kind == "normal":  # Box-Muller
            radius, angle = np.sqrt(-2 * np.log(u[:, 0::2])), 2 * np.pi * u[:, 1::2]
            z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2).reshape(u.shape)
        elif kind == "uniform":
            z = 2 * u - 1
        result[start : start + _CHUNK] = mean + truncation * (z[:, :dim] - mean)
    return result


def seed_uniforms(seeds: Sequence[int] | int, count: int, purpose: int) -> NDArray[np.float64]:
    """`kantor.random.uniforms(seed, purpose, count)` of each seed, float64 [N, count]. Raises ConfigError as `latents`."""
    return _uniforms(_keys(seeds), count, purpose)


def _keys(seeds: Sequence[int] | int) -> NDArray[np.uint64]:
    """uint64 [N]. Raises ConfigError if a seed is out of range."""
    numbers = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    wrong = next((s for s in numbers if not isinstance(s, int | np.integer) or not 0 <= s <= LARGEST_SEED), None)
    if wrong is not None:
        raise ConfigError("--seeds", f"{wrong} is not a seed", f"choose whole numbers from 0 to {LARGEST_SEED}")
    return np.array([int(s) for s in numbers], np.uint64)


def class_of_seed(seed: int, classes: int) -> int:
    """The class of a seed where none is named: seed mod `classes`. Like the latent, it is a promise (docs)."""
    return int(seed) % classes


def _uniforms(seeds: NDArray[np.uint64], count: int, purpose: int = PURPOSE) -> NDArray[np.float64]:
    """`kantor.random.uniforms(seed, purpose, count)` for each seed, in one sweep: [N, count].

    One call per seed costs 0.14 ms, nearly all of it overhead; ten thousand seeds are common.
    """
    blocks = -(-count // 4)
    counters = np.zeros((len(seeds) * blocks, 4), np.uint32)
    counters[:, 0] = np.tile(np.arange(blocks, dtype=np.uint32), len(seeds))
    counters[:, 1] = purpose
    low = np.repeat((seeds & np.uint64(0xFFFFFFFF)).astype(np.uint32), blocks)
    high = np.repeat((seeds >> np.uint64(32)).astype(np.uint32), blocks)
    key: Any = (low, high)  # philox takes an array of keys like one key; a test holds that
    words = philox(counters, key).reshape(len(seeds), 4 * blocks)[:, :count]
    return (words.astype(np.float64) + 0.5) * 2.0**-32
