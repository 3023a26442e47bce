"""The controls of seeds: a promise, what is asked for, and walks."""

from __future__ import annotations

import numpy as np
import pytest

from kantor.config.networks import UpsamplingGenerator
from kantor.controls import CONTROLS, Guide
from kantor.random import uniforms
from kantor.sample.guided import NEAREST, controls_of_seeds, follow, guided_latents, scaled
from kantor.sample.latents import latents
from support.painters import table

CONFIG = UpsamplingGenerator(latent_dim=6)
SEEDS = range(400)


@pytest.fixture(name="guide")
def _guide() -> Guide:
    guide = Guide(CONTROLS, 3, False)
    guide.table.copy_(table())
    return guide


def test_a_seed_has_the_controls_of_one_training_image(guide: Guide) -> None:
    rows = guide.table.numpy()
    found = controls_of_seeds(guide, [0, 7, 2**63])
    for seed, controls in zip([0, 7, 2**63], found, strict=True):
        assert np.array_equal(controls, rows[int(uniforms(seed, 2, 1)[0] * len(rows))])
    assert np.array_equal(controls_of_seeds(guide, 7), found[1:2]), "whatever seeds are beside it"
    assert np.abs(controls_of_seeds(guide, SEEDS).mean(axis=0) - rows.mean(axis=0)).max() < 0.03


def test_controls_follow_the_latent_of_the_seed(guide: Guide) -> None:
    z = guided_latents(SEEDS, CONFIG, guide, truncation=0.5)
    assert np.array_equal(z[:, :6], latents(SEEDS, 6, "normal", 0.5)), "truncation is of these alone"
    assert np.array_equal(z[:, 6:], scaled(guide, controls_of_seeds(guide, SEEDS)))
    assert np.array_equal(guided_latents(SEEDS, CONFIG, None), latents(SEEDS, 6))


def test_what_is_asked_for_replaces_and_the_rest_goes_with_it(guide: Guide) -> None:
    """Red grows with x in this table: who asks for a subject far right gets a red one; y stays free."""
    found = controls_of_seeds(guide, SEEDS, {"x": 0.68})
    assert (found[:, 3] == np.float32(0.68)).all()
    assert found[:, 0].min() > 0.5, "0 to 0.6 in all images"
    assert np.ptp(found[:, 4]) > 0.3
    assert len(np.unique(found[:, 4])) <= NEAREST
    both = controls_of_seeds(guide, SEEDS, {"x": 0.68, "red": 0.1})
    assert (both[:, [0, 3]] == np.array([0.1, 0.68], np.float32)).all()


def test_a_walk_passes_what_is_asked_for_evenly(guide: Guide) -> None:
    controls = scaled(guide, controls_of_seeds(guide, [1] * 5))
    there = follow(guide, controls, {"x": [0.3, 0.7], "extent": [0.4]})
    expected = np.repeat(controls_of_seeds(guide, [1]), 5, axis=0)
    expected[:, 3], expected[:, 5] = np.linspace(0.3, 0.7, 5), 0.4
    assert np.allclose(there, scaled(guide, expected), atol=1e-5)
    back = follow(guide, controls[:4], {"x": [0.3, 0.7]}, loop=True)
    expected[:4, 3] = [0.3, 0.5, 0.7, 0.5]
    assert np.allclose(back[:, 3], scaled(guide, expected[:4])[:, 3], atol=1e-5)
    assert np.array_equal(follow(guide, controls, {}), controls)
