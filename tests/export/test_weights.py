"""The model file: one file, equal for equal nets, and harmless whoever wrote it."""

from __future__ import annotations

import getpass
import json
import pickle
import random
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kantor.config.networks import DcganGenerator, UpsamplingGenerator
from kantor.errors import ModelError
from kantor.export.weights import Card, _digest, images_in, read_generator, write_generator
from kantor.nets import build_generator
from kantor.runs.checkpoint import from_bytes, to_bytes
from kantor.types import ImageSpec

SPEC = ImageSpec(8, 12, 3)
DCGAN = DcganGenerator(width=4, max_width=8, latent_dim=5)
CARDS = [
    Card(SPEC, DCGAN, "wgan-gp", (), 51_200),
    Card(
        ImageSpec(16, 16, 1), DcganGenerator(width=4, max_width=8, latent_dim=5, norm="pixel"), "dcgan", ("ü", "b"), 0
    ),
    Card(SPEC, UpsamplingGenerator(width=4, max_width=8, latent_dim=5), "hinge", (), 2**40),
]


def network_of(card: Card, seed: int = 3) -> nn.Module:
    network = build_generator(card.generator, card.spec, len(card.class_names), seed)
    network(torch.randn(6, 5), labels_of(card, 6))  # moves the running statistics of batch norm
    return network


def labels_of(card: Card, count: int) -> Tensor | None:
    return torch.arange(count) % len(card.class_names) if card.class_names else None


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "generator.safetensors"
    torch.manual_seed(0)
    write_generator(path, network_of(CARDS[0]), CARDS[0])
    return path.read_bytes()


def parts(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return from_bytes(Path("good"), data), json.loads(header["__metadata__"]["kantor"])


def forged(tensors: dict[str, Tensor], card: dict[str, Any]) -> bytes:
    """A file with a digest that is right, as somebody who wants to do harm would write it."""
    return to_bytes(tensors, {"kantor": json.dumps({**card, "digest": _digest(tensors, card)}, sort_keys=True)})


def refused(folder: Path, data: bytes) -> str:
    """Asserts that nothing but a plain ModelError comes of it, soon; returns what it says."""
    path = folder / "generator.safetensors"
    path.write_bytes(data)
    started_s = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        read_generator(path)
    assert (
        time.perf_counter() - started_s < 20
    )  # torch imports a lot for its first tensor without memory, on a busy machine for seconds
    error = caught.value
    assert error.exit_code == 4 and error.where == str(path) and str(error).isprintable() and len(error.what) < 300
    return error.what


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.objective)
def test_round_trip(tmp_path: Path, card: Card) -> None:
    path, network = tmp_path / "generator.safetensors", network_of(card)
    write_generator(path, network, card)
    found, found_card = read_generator(path)
    assert found_card == card and isinstance(found_card.spec, ImageSpec)
    z = torch.randn(4, 5)
    with torch.no_grad():
        expected = network.eval()(z, labels_of(card, 4))
    images = found(z, labels_of(card, 4))
    assert torch.equal(images, expected) and images.shape == (4, card.spec.channels, *card.spec[:2])
    assert images.std() > 0
    assert not found.training and not any(p.requires_grad for p in found.parameters())


def test_equal_nets_give_equal_bytes(tmp_path: Path, good: bytes) -> None:
    torch.manual_seed(0)
    network = network_of(CARDS[0]).to(memory_format=torch.channels_last)
    write_generator(tmp_path / "other name", network, CARDS[0])
    assert (tmp_path / "other name").read_bytes() == good
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] += 1
    write_generator(tmp_path / "changed", network, CARDS[0])
    assert (tmp_path / "changed").read_bytes() != good


def test_no_path_or_name_inside(tmp_path: Path, good: bytes) -> None:
    tensors, card = parts(good)
    assert set(card) == {"format", "spec", "generator", "objective", "class_names", "images_seen", "digest"}
    for secret in (str(tmp_path), str(Path.cwd()), f"{Path.home()}/", getpass.getuser(), socket.gethostname(), "/tmp"):
        assert secret.encode() not in good
    assert len(good) < sum(t.numel() * t.element_size() for t in tensors.values()) + 4000


def test_truncation(tmp_path: Path, good: bytes) -> None:
    for length in {*range(10), *random.Random(1).sample(range(len(good)), 49), len(good) - 1}:
        what = refused(tmp_path, good[:length])
        assert "cut short" in what or f"it has {length} bytes" in what or "is not a valid safetensors file" in what
    refused(tmp_path, good + b"\0")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a model: it has 0 bytes"),
        (b"<!DOCTYPE html><html>", "not a safetensors file"),
        (b"Fische\n" * 999, "not a safetensors file"),
        (pickle.dumps({"a": 1}), "is a pickle, which can run code"),
        (b"PK\x03\x04" + bytes(99), "is a pickle, which can run code"),
        (bytes(64), "not a model that Kantor wrote"),
        (to_bytes({"a": torch.zeros(1)}), "not a model that Kantor wrote"),
        (to_bytes({"a": torch.zeros(1)}, {"kantor": "{}"}), "not a model that Kantor wrote"),
        (to_bytes({"a": torch.zeros(1)}, {"kantor": "[" * 100_000}), "not a model that Kantor wrote"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "not a model that Kantor wrote"),
        (struct.pack("<Q", 2**63) + bytes(99), "cut short"),
    ],
    ids=range(11),
)
def test_what_is_no_model(tmp_path: Path, data: bytes, what: str) -> None:
    assert what in refused(tmp_path, data)


def test_the_number_of_images_is_read_from_the_header_alone(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(good[: struct.unpack("<Q", good[:8])[0] + 8])  # without the tensors
    assert images_in(path) == CARDS[0].images_seen
    for damaged in (b"", good[:5], good[:200]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError):
            images_in(path)


@pytest.mark.parametrize("length", [2**16 + 0x280, 2**16 + 0x580])
def test_a_header_whose_length_looks_like_a_pickle(tmp_path: Path, good: bytes, length: int) -> None:
    end = struct.unpack("<Q", good[:8])[0] + 8
    (tmp_path / "x").write_bytes(struct.pack("<Q", length) + good[8:end].ljust(length) + good[end:])
    assert read_generator(tmp_path / "x")[1] == CARDS[0]


def test_what_is_no_file(tmp_path: Path) -> None:
    for path, what in (
        (tmp_path, "is a folder, not a model file"),
        (tmp_path / "none", r"cannot be read \(No such file"),
        (tmp_path / "nul\0", "cannot be read"),
        (Path("/dev/zero"), "a device or pipe"),
    ):
        with pytest.raises(ModelError, match=what):
            read_generator(path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": 2}, "was written by a newer Kantor"),
        ({"generator": {"kind": "stylegan9"}}, "does not know"),
        ({"generator": {"kind": "dcgan", "_target_": "os.system"}}, "does not know"),
        ({"generator": {"kind": "dcgan", "width": 10**9}}, "does not know"),
        ({"generator": {"kind": "dcgan", "latent_dim": 1e999}}, "does not know"),
        ({"generator": {"kind": "dcgan", "width": 512, "max_width": 4096, "latent_dim": 4096}}, "tensor"),
        ({"spec": [1024, 1024, 3]}, "tensor"),
        ({"class_names": ["x"] * 200_000}, "lacks tensor latent.embedding.weight"),
        ({"spec": [10**9, 8, 3]}, "describes images of 1000000000x8"),
        ({"spec": [8, 8, 2]}, "describes images of"),
        ({"spec": [8]}, "not a model that Kantor wrote"),
        ({"generator": 3}, "not a model that Kantor wrote"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_hostile_cards(
    tmp_path: Path, good: bytes, change: dict[str, Any], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before anything is built: what a card describes is compared with the file on no memory."""
    allocated: list[int] = []
    register = nn.Module.register_parameter

    def counted(self: nn.Module, name: str, value: nn.Parameter | None) -> None:
        allocated.append(value.numel() if value is not None and not value.is_meta else 0)
        register(self, name, value)

    monkeypatch.setattr(nn.Module, "register_parameter", counted)
    tensors, card = parts(good)
    assert what in refused(tmp_path, forged(tensors, {**card, **change}))
    assert sum(allocated) == 0


def test_hostile_tensors(tmp_path: Path, good: bytes) -> None:
    tensors, card = parts(good)
    first = min(tensors)
    bad = tensors[first].clone()
    bad.flatten()[0] = float("nan")
    for change, what in (
        ({"extra": torch.zeros(1)}, "has an unexpected tensor extra"),
        ({"\x1b[31m\n": torch.zeros(1)}, "has an unexpected tensor \\x1b[31m\\n"),
        ({first: tensors[first][..., :1].contiguous()}, f"tensor {first} is ["),
        ({first: tensors[first].double()}, f"tensor {first} is "),
        ({first: bad}, f"tensor {first} holds numbers that are not finite"),
        ({first: tensors[first] / 0}, f"tensor {first} holds numbers that are not finite"),
    ):
        assert what in refused(tmp_path, forged({**tensors, **change}, card))
    less = {name: tensor for name, tensor in tensors.items() if name != first}
    assert f"lacks tensor {first}" in refused(tmp_path, forged(less, card))
    other = {**tensors, first: tensors[first] + 1}
    text = {"kantor": json.dumps(card, sort_keys=True)}
    assert "do not match its digest" in refused(tmp_path, to_bytes(other, text))
    for field, value in (
        ("images_seen", 3),
        ("objective", "dcgan"),
        ("generator", {**card["generator"], "init": "he"}),
    ):
        text = {"kantor": json.dumps({**card, field: value}, sort_keys=True)}
        assert "do not match its digest" in refused(tmp_path, to_bytes(tensors, text))


def test_mutants(tmp_path: Path, good: bytes) -> None:
    """300 files with up to three bytes or blocks changed, most of them in the header: refused, or the same model."""
    rng, header, same = random.Random(5), struct.unpack("<Q", good[:8])[0] + 8, 0
    path = tmp_path / "generator.safetensors"
    path.write_bytes(good)
    z = torch.randn(2, 5)
    expected = read_generator(path)[0](z)
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(header if rng.random() < 0.7 else len(good))
            kind = rng.randrange(4)
            if kind == 0:
                bad[at % len(bad)] ^= 1 << rng.randrange(8)
            elif kind == 1:
                bad[at % len(bad)] = rng.choice(b'\0\xff0-9"{}[],:eE ')
            else:
                gap = rng.choice([1, 8, 512]) * (kind - 2)
                bad[at : at + gap] = rng.choice([b"", b"0", b'"', b"\0" * 512, b"[" * 2000])
        path.write_bytes(bad)
        try:
            network, card = read_generator(path)
        except ModelError as error:
            assert error.where == str(path) and str(error).isprintable()
            continue
        assert torch.equal(network(z), expected) and card == CARDS[0]
        same += 1
    assert same < 30
