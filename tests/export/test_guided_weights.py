"""Model files of guided generators hold the controls of training images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from kantor.config.networks import CustomGenerator, GeneratorConfig, UpsamplingGenerator
from kantor.controls import guide_of
from kantor.errors import ModelError
from kantor.export.weights import Card, _digest, read_generator, write_generator
from kantor.nets import build_generator
from kantor.runs.checkpoint import from_bytes, to_bytes
from kantor.sample.guided import controls_of_seeds, scaled
from kantor.types import ImageSpec
from support.painters import table

SPEC, CONFIG = ImageSpec(16, 16, 3), UpsamplingGenerator(width=4, max_width=8, latent_dim=5)
PLACE = ("place",)


def network(config: GeneratorConfig = CONFIG) -> nn.Module:
    made = build_generator(config, SPEC, guide=PLACE)
    guide = guide_of(made)
    assert guide is not None
    guide.table.copy_(table()[:, 3:5])
    return made


def write(path: Path) -> bytes:
    made = network()
    write_generator(path, made, Card(SPEC, CONFIG, "hinge", (), 3, guide=guide_of(made)))
    return path.read_bytes()


def test_there_and_back(tmp_path: Path) -> None:
    data = write(tmp_path / "a.safetensors")
    assert data == write(tmp_path / "b.safetensors"), "equal runs give equal bytes"
    made, card = read_generator(tmp_path / "a.safetensors")
    assert card.guide is not None and card.guide is guide_of(made)
    assert card.guide.controls == PLACE and torch.equal(card.guide.table, table()[:, 3:5])
    z = card.latents([4, 9])
    assert z.shape == (2, 5 + 2)
    assert (z[:, 5:] == scaled(card.guide, controls_of_seeds(card.guide, [4, 9]))).all()
    asked = card.latents([4, 9], asked={"x": 0.25})
    assert (asked[:, :5] == z[:, :5]).all() and (asked[:, 5] != z[:, 5]).all()
    assert made(torch.from_numpy(z)).shape == (2, 3, 16, 16)


def test_an_unguided_model_says_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    write_generator(path, build_generator(CONFIG, SPEC), Card(SPEC, CONFIG, "hinge", (), 3))
    assert b"guide" not in path.read_bytes()
    assert read_generator(path)[1].guide is None


def test_forged_controls_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "forged.safetensors"
    data = write(path)
    length = int.from_bytes(data[:8], "little")
    text = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["kantor"])
    tensors = dict(from_bytes(path, data))
    for guide, change in ((["place", "exec"], {}), (["place"], {"guide.table": torch.zeros(8, 2)}), (["extent"], {})):
        card = {**text, "guide": guide}
        new = tensors | change
        card["digest"] = _digest(new, card)
        path.write_bytes(to_bytes(new, {"kantor": json.dumps(card)}))
        with pytest.raises(ModelError):
            read_generator(path)


def test_a_custom_generator_is_told_of_the_wider_latent() -> None:
    from kantor.nets.custom import REGISTERED

    sizes = []

    class Own(nn.Module):
        def __init__(self, config: CustomGenerator, spec: ImageSpec, classes: int) -> None:
            super().__init__()
            sizes.append(config.latent_dim)
            self.layer = nn.Linear(config.latent_dim, 1)

    REGISTERED["generator"]["own-guided"] = Own
    build_generator(CustomGenerator(name="own-guided", latent_dim=5), SPEC, guide=("place", "extent"))
    del REGISTERED["generator"]["own-guided"]
    assert sizes == [8]
