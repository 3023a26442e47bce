"""Weights find their layers in a network for another size, with or without classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kantor.app.training.match_layers import matching, own_tensors, share_taken
from kantor.config.io import resolve
from kantor.nets import build_critic, build_generator
from kantor.types import ImageSpec

ALIKE = {
    "generator.width": 8,
    "generator.max_width": 8,
    "critic.width": 8,
    "critic.max_width": 8,
    "generator.latent_dim": 6,
}
STACKS: dict[int, dict[str, Any]] = {
    size: {
        "generator": {
            "kind": "stack",
            "base": [4, 4, 8],
            "latent_dim": 6,
            "layers": [{"width": 8, "upsample": True}] * n + [{}],
        },
        "critic": {"kind": "stack", "layers": [{"width": 8, "stride": 2}] * n},
    }
    for size, n in ((16, 2), (32, 3))
}


def network(part: str, size: int = 16, classes: int = 0, seed: int = 0, **fields: Any) -> nn.Module:
    kind = fields.pop("kind", "dcgan")
    values = (
        STACKS[size]
        if kind == "stack"
        else ALIKE | {f"{part}.kind": kind} | {k.replace("__", "."): v for k, v in fields.items()}
    )
    config = resolve("wgan-gp", overrides=values)
    spec = ImageSpec(size, size, 3)
    if part == "generator":
        condition = 1 if kind == "unet" else 0
        return build_generator(config.generator, spec, classes, seed, condition)
    return build_critic(config.critic, spec, classes, seed)


def taken(new: nn.Module, old: nn.Module, same_classes: bool = False) -> dict[str, str]:
    """Copies what fits; returns the names of the sources."""
    copies = matching(new, old.state_dict(), same_classes, grown=False)
    tensors = own_tensors(new)
    for name, copy in copies.items():
        copy.into(tensors[name])
        assert torch.equal(tensors[name][copy.place], copy.values)
    return {name: copy.source for name, copy in copies.items()}


@pytest.mark.parametrize(
    ("kind", "heirs", "fresh"),
    [
        ("dcgan", {"layers.3": "layers.2", "layers.2": "layers.1", "norms.2": "norms.1", "norms.1": "norms.0"}, {"layers.1", "norms.0"}),
        ("upsampling", {"picture": "picture", "layers.2": "layers.1", "layers.1": "layers.0", "base": "base"}, {"layers.0"}),
        ("resnet", {"picture": "picture", "blocks.2.conv1": "blocks.1.conv1", "blocks.1.shortcut": "blocks.0.shortcut"}, {"blocks.0.conv1"}),
        ("stack", {"layers.3.conv": "layers.2.conv", "layers.2.conv": "layers.1.conv", "layers.1.conv": "layers.0.conv"}, {"layers.0.conv"}),
        ("channels", {"pictures.2": "pictures.2", "trunk.0.project": "trunk.0.project", "branches.1.2.filter": "branches.0.2.filter"}, {"branches.0.0.filter"}),
        ("unet", {"up.0": "up.0", "up.1": "up.1", "picture": "picture", "entry": "entry", "down.1": "down.1"}, {"up.2", "down.2"}),
    ],
)  # fmt: skip
def test_a_generator_is_matched_from_the_image(kind: str, heirs: dict[str, str], fresh: set[str]) -> None:
    old, new = network("generator", 16, kind=kind), network("generator", 32, seed=1, kind=kind)
    sources = taken(new, old)
    prefixes = {name.rpartition(".")[0]: source.rpartition(".")[0] for name, source in sources.items()}
    assert heirs.items() <= prefixes.items()
    assert not fresh & prefixes.keys()
    for here, there in heirs.items():
        for name, value in old.get_submodule(there).state_dict().items():
            assert torch.equal(new.get_submodule(here).state_dict()[name], value)


@pytest.mark.parametrize("kind", ["dcgan", "upsampling", "resnet", "stack", "channels"])
@pytest.mark.parametrize("sizes", [(16, 32), (32, 16)])
def test_a_critic_is_matched_from_the_image(kind: str, sizes: tuple[int, int]) -> None:
    old, new = (network("critic", size, seed=size, kind=kind) for size in sizes)
    sources = taken(new, old)
    assert all(name == source for name, source in sources.items())
    first = {"dcgan": "layers.0", "stack": "layers.0", "channels": "stems.0"}.get(kind, "picture")
    assert any(name.startswith(f"{first}.") for name in sources) and "score.weight" in sources
    assert len(sources) == min(len(own_tensors(old)), len(own_tensors(new)))


def test_a_smaller_image_takes_the_layers_next_to_it() -> None:
    sources = taken(network("generator", 16, kind="upsampling"), network("generator", 32, seed=1, kind="upsampling"))
    assert sources["layers.0.weight"] == "layers.1.weight" and sources["layers.1.weight"] == "layers.2.weight"


def test_the_end_of_a_generator_computes_what_it_did() -> None:
    """A larger network whose first new layer passes on what the smaller one begins with makes the same picture there."""
    old, new = (
        network("generator", 16, kind="upsampling").eval(),
        network("generator", 32, seed=1, kind="upsampling").eval(),
    )
    taken(new, old)
    features = torch.randn(2, 8, 4, 4)

    def ending(generator: nn.Module, count: int) -> Tensor:
        x = features
        for layer, norm in list(zip(generator.layers, generator.norms[1:], strict=True))[-count:]:  # type: ignore[arg-type,index]
            x = nn.functional.leaky_relu(norm(layer(nn.functional.interpolate(x, scale_factor=2.0))), 0.2)
        return torch.tanh(generator.picture(x))  # type: ignore[operator]

    assert torch.equal(ending(new, 2), ending(old, 2))


def test_a_layer_that_takes_the_latent_is_no_other() -> None:
    """Even where its shape is that of another: as many latents as channels, and 4x4 pixels as a kernel has."""
    old, new = (network("generator", size, seed=size, generator__latent_dim=8) for size in (16, 32))
    assert old.layers[0].weight.shape == new.layers[1].weight.shape  # type: ignore[index,union-attr]
    sources = taken(new, old)
    assert "layers.1.weight" not in sources and sources["layers.0.weight"] == "layers.0.weight"


def test_modulation_goes_with_its_layers() -> None:
    old, new = (
        network("generator", size, seed=size, kind="upsampling", generator__max_width=64, generator__modulation=True)
        for size in (16, 32)
    )
    before = new.modulation.linear.weight.clone()  # type: ignore[union-attr]
    sources = taken(new, old)
    rows = 2 * (8 + 16)  # of the last layers: 16 and 8 channels wide in both
    assert sources["modulation.linear.bias"] == "modulation.linear.bias"
    here, there = new.modulation.linear.weight, old.modulation.linear.weight  # type: ignore[union-attr]
    assert torch.equal(here[-rows:], there[-rows:]) and torch.equal(here[:-rows], before[:-rows])
    assert not any(torch.equal(a, b) for a, b in zip(here[:-rows], there, strict=False))


@pytest.mark.parametrize("kind", ["dcgan", "upsampling", "resnet", "stack", "unet", "channels"])
@pytest.mark.parametrize("way", ["gains classes", "loses classes"])
def test_the_columns_of_the_latent_are_kept(kind: str, way: str) -> None:
    gains = way == "gains classes"
    old, new = (
        network("generator", 16, classes=3 if c else 0, seed=s, kind=kind) for s, c in ((0, not gains), (1, gains))
    )
    name = "layers.0.weight" if kind == "dcgan" else "base.weight"
    before = new.state_dict()[name].clone()
    sources = taken(new, old)
    here, there = (n.state_dict()[name] for n in (new, old))
    if kind == "dcgan":
        here, there, before = here.transpose(0, 1), there.transpose(0, 1), before.transpose(0, 1)
    assert sources[name] == name
    assert torch.equal(here[:, :6], there[:, :6])
    assert torch.equal(here[:, 6:], before[:, 6:])
    assert here.shape[1] == (9 if gains else 6)
    rest = {n for n in own_tensors(new) if n not in sources}
    assert rest == ({"latent.embedding.weight"} if gains else set())
    assert share_taken(new, matching(new, old.state_dict(), False, False)) == pytest.approx(
        1
        - sum(new.state_dict()[n].numel() for n in rest) / total(new)
        - (here[:, 6:].numel() / total(new) if gains else 0)
    )


def total(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_latents_of_another_size_are_not_taken_for_classes() -> None:
    """9 columns of latents are not 6 of latents and 3 of classes."""
    old, new = network("generator", generator__latent_dim=9), network("generator", classes=3, seed=1)
    assert old.layers[0].weight.shape == new.layers[0].weight.shape  # type: ignore[index,union-attr]
    assert "layers.0.weight" not in taken(new, old)


def test_embeddings_belong_to_their_classes() -> None:
    old, new = network("generator", classes=3), network("generator", classes=3, seed=1)
    assert "latent.embedding.weight" not in taken(new, old)
    assert "latent.embedding.weight" in taken(new, old, same_classes=True)
    assert len(taken(network("generator", classes=3, seed=1), old, same_classes=True)) == len(own_tensors(old))


def test_equalised_weights_are_matched_with_their_like() -> None:
    old, new = (network("generator", size, seed=size, generator__equalised=True) for size in (16, 32))
    sources = taken(new, old)
    name = "parametrizations.weight.original"
    assert sources[f"layers.3.{name}"] == f"layers.2.{name}"
    assert sources[f"layers.0.{name}"] == f"layers.0.{name}"
    with_classes = network("generator", 16, classes=3, seed=1, generator__equalised=True)
    assert f"layers.0.{name}" in taken(with_classes, old)
    assert not [n for n in taken(network("generator", 16), old) if n.endswith("weight") and "norms" not in n]


@pytest.mark.parametrize("kind", ["dcgan", "upsampling", "resnet", "stack"])
@pytest.mark.parametrize("classes", [0, 3])
def test_a_guided_network_takes_all_of_one_without_controls(kind: str, classes: int) -> None:
    """With what it has besides at 0, it generates the same images and gives the same scores."""
    values = STACKS[16] if kind == "stack" else ALIKE | {"generator.kind": kind, "critic.kind": kind}
    config, spec, guide = resolve("wgan-gp", overrides=values), ImageSpec(16, 16, 3), ("colour", "place")
    old = build_generator(config.generator, spec, classes, 1).eval()
    new = build_generator(config.generator, spec, classes, 2, guide=guide).eval()
    sources = taken(new, old, same_classes=bool(classes))
    assert sources.keys() == own_tensors(new).keys() - {
        "guide.table",
        "latent.embedding.weight",
    }  # half as wide as the latent
    z = torch.randn(4, config.generator.latent_dim)
    if not classes:  # else columns of the embedding are new
        torch.testing.assert_close(new(torch.cat([z, torch.zeros(4, 5)], dim=1)), old(z))
    again = taken(build_generator(config.generator, spec, classes, 3, guide=guide), new, same_classes=bool(classes))
    assert again.keys() == own_tensors(new).keys() and "guide.table" not in again
    old, new = build_critic(config.critic, spec, classes, 1), build_critic(config.critic, spec, classes, 2, guide=guide)
    assert taken(new, old, same_classes=bool(classes)).keys() == own_tensors(new).keys()
    x, labels = torch.rand(4, 3, 16, 16), torch.arange(4) % classes if classes else None
    torch.testing.assert_close(new(torch.cat([x, torch.zeros(4, 5, 16, 16)], dim=1), labels), old(x, labels))
