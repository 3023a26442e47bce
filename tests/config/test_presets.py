"""Every preset: the numbers of its seed, and that its networks train and are saved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch._subclasses import FakeTensorMode

from kantor.app.dataset.smaller import Pixelated
from kantor.app.training.build import build
from kantor.config.base import parse_size
from kantor.config.io import difference, overridden, preset_names, preset_text, resolve
from kantor.config.schema import Config
from kantor.data.loading.image_set import ImageSet
from kantor.export.weights import Card, read_generator, write_generator
from kantor.nets import build_critic, build_generator
from kantor.sample.latents import latents
from kantor.types import ImageSpec, traits_of
from support.commands import exit_of
from support.engine_fakes import CPU, InMemory
from support.stacks import COLOUR128, FISH32, FISH64, MNIST28, narrowed

CHANNELS = {"auto": 3, "rgb": 3, "gray": 1}
TRAINABLE = {  # (generator, critic), from the seeds' own summaries and code
    "fish32": (3_606_403, 2_701_841),
    "fish64": (4_425_859, 3_111_697),
    "celeba64-dcgan": (12_658_432, 11_038_081),
    "celeba64-dcgan-as-coded": (12_658_432, 11_038_083),
    "celeba64-wgan": (12_658_432, 11_038_081),
    "celeba64-wgan-as-coded": (12_658_432, 11_038_083),
    "celeba64-wgan-gp": (12_658_432, 11_034_497),
    "celeba64-wgan-gp-as-coded": (12_658_432, 11_034_497),
    "colour-wgan128": (1_932_451, 388_097),
    "mnist64-dcgan": (3_575_617, 2_764_481),
    "mnist64-wgan": (3_575_617, 2_764_481),
    "mnist64-wgan-gp": (3_575_617, 2_764_481),
    "ohmygan-celeba64-dcgan": (3_577_667, 2_766_529),
    "ohmygan-celeba64-wgan": (3_577_667, 2_766_529),
    "paper-mnist28-wgan-gp": (1_554_177, 1_030_145),
}


def spec_of(config: Config) -> ImageSpec:
    height, width = (32, 32) if config.data.size == "auto" else parse_size(config.data.size)
    return ImageSpec(height, width, CHANNELS[config.data.channels])


def trainable(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", TRAINABLE)
def test_parameter_counts_equal_the_seed(name: str) -> None:
    config = resolve(name)
    spec = spec_of(config)
    with torch.device("meta"):
        found = trainable(build_generator(config.generator, spec)), trainable(build_critic(config.critic, spec))
    assert found == TRAINABLE[name]


@pytest.mark.parametrize("name", preset_names())
def test_its_networks_take_and_give_its_images(name: str) -> None:
    """At their whole width; no number is computed."""
    config = resolve(name)
    spec = spec_of(config)
    condition = {"none": 0, "edges": 1, "smaller": spec.channels}[config.data.condition]
    with torch.device("meta"):
        generator = build_generator(config.generator, spec, condition=condition)
        critic = build_critic(config.critic, spec, condition=condition)
    generator.to_empty(device=CPU), critic.to_empty(device=CPU)
    with FakeTensorMode(allow_non_fake_inputs=True):
        given = torch.zeros(2, condition, spec.height, spec.width) if condition else None
        images = generator(torch.zeros(2, config.generator.latent_dim), condition=given)
        scores = critic(images, condition=given)
    assert images.shape == (2, spec.channels, spec.height, spec.width)
    assert scores.shape == (2,)


@pytest.mark.parametrize("name", preset_names())
def test_three_steps_and_a_saved_model(name: str, tmp_path: Path) -> None:
    """Two images a batch; critic and generator both move, and stay finite; a model file draws the same images.

    For images of 64x64 and more, networks have a quarter of their width.
    """
    config = resolve(name)
    if spec_of(config).height >= 64:
        config = config.model_copy(update={"generator": narrowed(config.generator), "critic": narrowed(config.critic)})
    fewer: dict[str, Any] = {"train.batch": 2, "cycle.critic_steps": 1, "cycle.generator_steps": 1}
    fewer |= {"train.precision": "float32"}
    fewer |= {"cycle.generator_batch": 2} if config.cycle.generator_batch else {}
    fewer |= {"cycle.overdose_steps": 1} if config.cycle.kind == "overdose" else {}
    spec = spec_of(config)
    config = overridden(config, fewer | {"data.size": str(spec.height), "train.images": 100})
    packed = spec if config.data.pack_size == "auto" else ImageSpec(*parse_size(config.data.pack_size), spec.channels)
    if config.data.condition == "edges":
        pytest.skip("pairs have a second dataset: see test_paint.py")
    images: ImageSet = InMemory(packed, 2, labelled=False)
    if config.data.condition == "smaller":
        images = Pixelated(images, spec, config.data.smaller)
    parts = build(config, images, CPU)
    state, steps = parts.state(), parts.steps()
    before = {part: value.clone() for part, value in state.model_tensors().items()}
    for _ in range(3):
        steps.cycle(state, parts.feed)
    after = state.model_tensors()
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())
    for network in ("generator", "critic"):
        assert any(not torch.equal(after[key], before[key]) for key in after if key.startswith(network))
    assert state.counters.critic_steps == state.counters.generator_steps == 3
    tally = {key: total / count for key, (total, count) in state.tally.read().items()}
    assert tally["skipped_critic"] == tally["skipped_generator"] == 0

    path, card = (
        tmp_path / "generator.safetensors",
        Card(spec, config.generator, config.objective.kind, (), 6, parts.condition, images.condition_settings),
    )
    write_generator(path, state.average, card)
    network, again = read_generator(path)
    assert again == card
    z = torch.from_numpy(latents(range(2), config.generator.latent_dim, config.generator.latent))
    given = torch.zeros(2, parts.condition, spec.height, spec.width) if parts.condition else None
    with torch.no_grad():
        torch.testing.assert_close(network(z, condition=given), state.average(z, condition=given), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", preset_names())
def test_the_comment_of_a_preset(name: str) -> None:
    config, text = resolve(name), preset_text(name)
    assert re.fullmatch(r"# .{1,110}\.", text.splitlines()[0])  # what `kantor presets` lists
    assert all(len(line) <= 140 for line in text.splitlines())
    if config.objective.kind == "wgan-gp":  # no critic of these mixes a batch by batch norm
        with torch.device("meta"):
            assert traits_of(build_critic(config.critic, spec_of(config))).normalisation != "batch"


LAYERS = {"fish32": FISH32, "fish64": FISH64, "colour-wgan128": COLOUR128, "paper-mnist28-wgan-gp": MNIST28}


@pytest.mark.parametrize("name", [*LAYERS, "fish32-as-coded", "fish64-as-coded", "colour-wgan128-as-coded"])
def test_layers_equal_those_of_the_seed(name: str) -> None:
    """test_stack.py compares these with the seed, layer by layer."""
    config, (generator, critic) = resolve(name), LAYERS[name.removesuffix("-as-coded")]
    assert config.generator.layers == generator.layers  # type: ignore[union-attr]
    assert config.generator.base == generator.base  # type: ignore[union-attr]
    assert config.critic.layers == critic.layers  # type: ignore[union-attr]
    for part, theirs in ((config.generator, generator), (config.critic, critic)):
        for field in (
            "kind",
            "norm",
            "base_activation",
            "activation",
            "output",
            "norm_first",
            "range",
            "minibatch_stddev",
        ):
            assert getattr(part, field, None) == getattr(theirs, field, None)


GP = "objective.penalties.gradient"
TWINS = {  # what a twin has otherwise, and nothing else
    "fish32": {f"{GP}.at.alpha": "normal", "objective.drift.of": "half-sum-real", "cycle.reuse": "images"},
    "fish64": {
        f"{GP}.at.alpha": "normal", "objective.drift.of": "half-sum-real", "cycle.reuse": "images",
        "critic.dropout": 0.4,
    },
    "celeba64-dcgan": {"critic.bare_first": True, "critic.activated_score": True},
    "celeba64-wgan": {
        "critic.bare_first": True, "critic.activated_score": True, "cycle.counted": "epoch", "cycle.first_cycles": 24,
        "objective.constraint.kind": "gradient-clipping", "objective.constraint.scope": None,
        "objective.constraint.when": None,
    },
    "celeba64-wgan-gp": {
        "critic.bare_first": True, "critic.activated_score": True, f"{GP}.at.alpha": "batch", f"{GP}.at.sign": "minus",
        f"{GP}.over": "columns",
    },
    "colour-wgan128": {
        "generator.latent": "normal", "train.epochs": 300.0, "cycle.split_updates": True,
        "objective.constraint.scope": "kernels",
    },
    "mnist64-dcgan": {"generator.latent": "normal", "cycle.reuse": "everything"},
    "mnist64-wgan": {
        "generator.latent": "normal", "cycle.reuse": "everything", "objective.constraint.when": "before",
    },
    "ohmygan-celeba64-dcgan": {"generator.latent": "normal", "cycle.reuse": "everything"},
    "ohmygan-celeba64-wgan": {
        "generator.latent": "normal", "cycle.reuse": "everything", "objective.constraint.when": "before",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_differences_of_a_twin(name: str) -> None:
    changed = {field: new for field, (_, new) in difference(resolve(name), resolve(f"{name}-as-coded")).items()}
    assert changed == TWINS[name]


def test_every_twin_is_checked() -> None:
    assert {f"{name}-as-coded" for name in TWINS} == {name for name in preset_names() if name.endswith("-as-coded")}


def test_hyper_parameters_of_the_seeds() -> None:
    """Those that seeds give in numbers; layers are in test_stack.py."""

    def field(preset: str, name: str) -> Any:
        value: Any = resolve(preset)
        for part in name.split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        return value

    wanted = {
        ("fish32", "generator.latent_dim"): 256,
        ("fish32", "critic.dropout"): 0.5,
        ("fish32", "critic.minibatch_stddev"): "batch",
        ("fish32", "generator.norm"): "pixel",
        ("fish32", "objective.drift.weight"): 0.001,
        ("fish32", "objective.penalties.gradient.weight"): 10,
        ("fish32", "cycle.critic_steps"): 4,
        ("fish32", "ema.decay"): 0.999,
        ("fish32", "optimizer.critic.betas"): (0.0, 0.99),
        ("fish32", "optimizer.generator.schedule.rates"): [1e-4, 3e-5, 2e-5],
        ("fish32", "optimizer.generator.schedule.until"): [200, 700],
        ("fish32", "data.augment.rotation"): 25,
        ("fish32", "data.augment.zoom"): (0.95, 1.2),
        ("fish32", "data.pack_size"): "128",
        ("fish64", "critic.dropout"): 0.5,
        ("fish64-as-coded", "critic.dropout"): 0.4,
        ("celeba64-wgan-gp", "train.batch"): 128,
        ("celeba64-wgan-gp", "optimizer.critic.lr"): 1e-5,
        ("celeba64-wgan-gp", "cycle.critic_steps"): 5,
        ("celeba64-wgan", "objective.constraint.bound"): 0.05,
        ("celeba64-wgan", "cycle.kind"): "overdose",
        ("celeba64-wgan", "optimizer.critic.lr"): 5e-5,
        ("celeba64-wgan", "optimizer.critic.kind"): "rmsprop",
        ("celeba64-dcgan", "cycle.generator_steps"): 2,
        ("celeba64-dcgan", "optimizer.generator.lr"): 2e-5,
        ("celeba64-dcgan", "generator.batch_norm.decay"): 0.99,
        ("celeba64-dcgan", "generator.init"): "truncated-normal",
        ("celeba64-dcgan", "data.crop"): 108,
        ("colour-wgan128", "data.limit"): 3000,
        ("colour-wgan128", "train.epochs"): 150,
        ("colour-wgan128", "generator.latent"): "unit",
        ("colour-wgan128", "optimizer.critic.lr"): 5e-5,
        ("colour-wgan128", "cycle.critic_steps"): 5,
        ("mnist64-dcgan", "optimizer.generator.lr"): 2e-4,
        ("mnist64-dcgan", "optimizer.generator.betas"): (0.5, 0.999),
        ("mnist64-dcgan", "train.batch"): 128,
        ("mnist64-dcgan", "generator.latent"): "uniform",
        ("mnist64-wgan", "objective.constraint.bound"): 0.01,
        ("mnist64-wgan", "cycle.critic_steps"): 5,
        ("mnist64-wgan-gp", "critic.norm"): "layer",
        ("painter-wgan-gp", "cycle.critic_steps"): 5,
        ("painter-wgan-gp", "cycle.generator_steps"): 3,
        ("paper-mnist28-wgan-gp", "train.batch"): 50,
        ("paper-cifar32-resnet-wgan-gp", "cycle.generator_batch"): 128,
        ("paper-cifar32-resnet-wgan-gp", "optimizer.critic.lr"): 2e-4,
        ("paper-64-resnet-wgan-gp", "optimizer.critic.betas"): (0.0, 0.9),
    }
    assert {key: field(*key) for key in wanted} == wanted


def test_the_penalty_of_the_paper_in_the_other_range() -> None:
    """The same critic of the same image, in [0, 1] and in [-1, 1]."""
    config = resolve("paper-mnist28-wgan-gp")
    critic = build_critic(config.critic, ImageSpec(28, 28, 1)).double()
    signed = torch.rand(3, 1, 28, 28, dtype=torch.float64) * 2 - 1
    plain = build_critic(config.critic.model_copy(update={"range": "signed"}), ImageSpec(28, 28, 1)).double()
    plain.load_state_dict(critic.state_dict())
    torch.testing.assert_close(critic(signed), plain((signed + 1) / 2))


def test_records_cropped_as_in_the_seed_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """kantor pack --format tfrecord --crop 108 --size 64, and training from it, which cuts no more."""
    (tmp_path / "faces").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (150, 130, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "faces" / f"{number}.png")
    packed = tmp_path / "celeba64"
    words = ["--format", "tfrecord", "--crop", 108, "--size", 64, "--out", packed]
    assert exit_of("pack", tmp_path / "faces", *words) == 0
    train = ["train", packed, "--preset", "celeba64-dcgan", "--images", 4, "--batch", 2, "--device", "cpu"]
    train += ["--set", "generator.width=4", "--set", "critic.width=4", "--runs", tmp_path / "runs", "--cache", tmp_path]
    assert exit_of(*train) == 3
    assert "smaller than the crop of 108; use a smaller --crop, or --crop 0" in capsys.readouterr().err
    assert exit_of(*train, "--crop", 0) == 0
    assert (tmp_path / "runs" / "00000-celeba64-celeba64-dcgan" / "generator.safetensors").exists()
