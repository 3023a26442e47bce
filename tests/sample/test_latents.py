"""Seeds of images: a promise for ever."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from kantor.engine.step_random import StepRandom
from kantor.errors import ConfigError
from kantor.random import philox, uniforms
from kantor.sample.latents import latents

# Never change these: they are what "seed 17 is the same image for ever" means.
GOLDEN = {
    0: [1.13636732, -0.675882995, 1.24059176, 0.224251136, 1.02197874],
    17: [1.65750134, 0.504387856, 0.297503203, 0.506996334, 0.374479741],
    2**63: [0.950508535, 0.423815727, -0.0984150469, -1.00370562, 1.77737033],
}
GOLDEN_UNIFORM = {17: [-0.554122806, -0.905970395, 0.682650924]}


def test_philox_known_answers():
    """Random123's vectors: the first of its three, all zero, and all ones."""
    zero = philox(np.zeros((1, 4), np.uint32), (0, 0))[0]
    assert [f"{w:08x}" for w in zero] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    ones = philox(np.full((1, 4), 0xFFFFFFFF, np.uint32), (0xFFFFFFFF, 0xFFFFFFFF))[0]
    assert [f"{w:08x}" for w in ones] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]


@pytest.mark.parametrize("seed", GOLDEN)
def test_golden_values(seed):
    np.testing.assert_allclose(latents(seed, 5)[0], GOLDEN[seed], rtol=2e-7, atol=0)


def test_golden_values_uniform():
    np.testing.assert_allclose(latents(17, 3, "uniform")[0], GOLDEN_UNIFORM[17], rtol=2e-7, atol=0)


def test_is_box_muller_of_the_documented_uniforms():
    for seed in (0, 5, 2**32 + 1, 2**64 - 1):
        u = uniforms(seed, 1, 6)
        expected = []
        for u1, u2 in u.reshape(3, 2):
            r = math.sqrt(-2 * math.log(u1))
            expected += [r * math.cos(2 * math.pi * u2), r * math.sin(2 * math.pi * u2)]
        np.testing.assert_allclose(latents(seed, 6)[0], expected, rtol=2e-7)
        np.testing.assert_allclose(latents(seed, 6, "uniform")[0], 2 * u - 1, rtol=2e-7)


def test_the_batch_does_not_matter():
    alone, together = latents(17, 7), latents(range(5000), 7)
    assert together.dtype == np.float32 and together.shape == (5000, 7)
    np.testing.assert_array_equal(alone[0], together[17])
    np.testing.assert_array_equal(latents([4999, 17], 7), together[[4999, 17]])


def test_fewer_dimensions_are_a_prefix():
    np.testing.assert_array_equal(latents(range(9), 100)[:, :33], latents(range(9), 33))


def test_no_seed_no_latents():
    assert latents([], 8).shape == (0, 8)


def test_normal_moments_and_distribution():
    z = latents(range(4000), 64)
    n = z.size
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.01
    assert stats.kstest(z[:, 0], "norm").pvalue > 0.01  # over seeds, at one coordinate


def test_uniform_distribution():
    z = latents(range(2000), 64, "uniform")
    assert z.min() > -1 and z.max() <= 1
    assert stats.kstest(z.ravel(), "uniform", args=(-1, 2)).pvalue > 0.01


def test_neighbours_are_independent():
    z = latents(range(2001), 128)
    seeds = np.mean(z[1:] * z[:-1])
    coordinates = np.mean(z[:, 1:] * z[:, :-1])
    pairs = np.mean((z[:, 0::2] ** 2 - 1) * (z[:, 1::2] ** 2 - 1))  # both of a pair share a radius
    for correlation, count in ((seeds, 2000 * 128), (coordinates, 2001 * 127), (pairs / 2, 2001 * 64)):
        assert abs(correlation) < 4.5 / math.sqrt(count)


def test_large_seeds_differ():
    seeds = [0, 1, 2**32, 2**32 + 1, 2**63, 2**63 + 1, 2**64 - 1]
    assert len(np.unique(latents(seeds, 4), axis=0)) == len(seeds)


def test_between_zero_and_one():
    """The documented uniforms themselves; truncation leads to their middle."""
    for seed in (0, 17):
        u = uniforms(seed, 1, 6)
        np.testing.assert_allclose(latents(seed, 6, "unit")[0], u, rtol=2e-7)
        np.testing.assert_allclose(latents(seed, 6, "unit", 0.5)[0], 0.25 + u / 2, rtol=2e-7)
    assert (latents(3, 8, "unit", 0.0) == 0.5).all()


@pytest.mark.parametrize(("kind", "low", "high"), [("unit", 0, 1), ("uniform", -1, 1)])
def test_latents_of_training_have_their_range(kind, low, high):
    config = SimpleNamespace(latent_dim=64, latent=kind)
    z = StepRandom(0, 0, 0, torch.device("cpu")).latents("critic-latents", 0, 500, config).numpy()
    assert stats.kstest(z.ravel(), "uniform", args=(low, high - low)).pvalue > 0.01


def test_truncation_scales_towards_the_centre():
    for kind in ("normal", "uniform"):
        np.testing.assert_allclose(latents(3, 8, kind, 0.5), 0.5 * latents(3, 8, kind), rtol=1e-6)
        assert not latents(3, 8, kind, 0.0).any()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range(seed):
    with pytest.raises(ConfigError, match="not a seed"):
        latents([0, seed], 4)
