"""Checkpoints: what comes back is what was saved, or an error that names what is damaged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import random
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kantor import atomic
from kantor.errors import ModelError
from kantor.runs import checkpoint
from kantor.runs.checkpoint import FILES, Checkpoint, from_bytes, last, load, save, tensor_digest, to_bytes


def state(seed: int = 0, size: int = 3) -> Checkpoint:
    rng = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, size, 4, 4, generator=rng)
    model = {
        "generator.weight": weight,
        "generator.channels_last": weight.contiguous(memory_format=torch.channels_last),
        "generator.sixteen": weight.bfloat16(),
        "generator.transposed": weight[0, 0].t(),
        "critic.steps": torch.tensor(7 + seed),
        "critic.empty": torch.zeros(0, 3),
        "critic.extremes": torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, 3.4e38]),
    }
    optimizer = {"critic/exp_avg": weight.double() / 3, "critic/step": torch.tensor(5.0), "critic/on": weight > 0}
    values = {"cycle": 3, "loss": 0.1, "feed": {"epoch": 1, "names": ["ü", None]}, "big": 2**62}
    return Checkpoint(model, optimizer, values)


def assert_same(a: Checkpoint, b: Checkpoint) -> None:
    assert a.values == b.values
    for one, two in ((a.model, b.model), (a.optimizer, b.optimizer)):
        assert one.keys() == two.keys()
        for name in one:
            assert (one[name].dtype, one[name].shape) == (two[name].dtype, two[name].shape), name
            assert tensor_digest(one[name]) == tensor_digest(two[name]), name
            assert torch.equal(bits(one[name]), bits(two[name])), name


def bits(value: Tensor) -> Tensor:
    return value.contiguous().reshape(-1).view(torch.uint8)


def contents(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir()}


def test_round_trip(tmp_path: Path) -> None:
    path = save(tmp_path, 51_200, state())
    assert path == tmp_path / "000051200"
    assert set(contents(path)) == {*FILES, "manifest.json"}
    assert [p.name for p in tmp_path.iterdir()] == ["000051200"], "nothing is left next to it"
    assert_same(load(path), state())


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    first = contents(save(tmp_path / "a", 64, state()))
    again = state()
    shuffled = Checkpoint(
        {name: again.model[name].clone(memory_format=torch.contiguous_format) for name in reversed(again.model)},
        dict(reversed(again.optimizer.items())),
        dict(reversed(again.values.items())),
    )
    assert contents(save(tmp_path / "b", 64, shuffled)) == first
    assert contents(save(tmp_path / "c", 64, state(1))) != first


def test_digest_tells_dtype_shape_and_contents_apart() -> None:
    base = torch.zeros(2, 3)
    others = [base, base.t(), base.int(), torch.zeros(6), -base, torch.zeros(2, 3).index_fill(1, torch.tensor(0), 1.0)]
    assert len({tensor_digest(t) for t in others}) == len(others)
    image = torch.randn(2, 3, 4, 5)
    assert tensor_digest(image) == tensor_digest(image.contiguous(memory_format=torch.channels_last))


def test_a_valid_checkpoint_stays_and_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    path = save(tmp_path, 64, state())
    inode = (path / "manifest.json").stat().st_ino
    save(tmp_path, 64, state())
    assert (path / "manifest.json").stat().st_ino == inode
    (path / "state.json").write_bytes(b"{}")
    save(tmp_path, 64, state())
    assert_same(load(path), state())


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """400 bits, at least 60 in each file; `last` goes back to the one before and names the file, and the tensor."""
    older, newer = save(tmp_path, 64, state(1)), save(tmp_path, 128, state(2))
    rng, named = random.Random(3), set()
    sizes = {name: len(data) for name, data in contents(newer).items()}
    for i in range(400):
        name = sorted(sizes)[i % 4]
        bit = rng.randrange(8 * sizes[name])
        file, good = newer / name, (newer / name).read_bytes()
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bad)
        found, faults = last(tmp_path)
        assert found == older, f"bit {bit} of {name}"
        assert len(faults) == 1 and faults[0].exit_code == 4
        assert faults[0].where in (str(file), str(newer)) and ("damaged" in faults[0].what or name == "manifest.json")
        header = 8 + struct.unpack("<Q", good[:8])[0]
        if name.endswith(".safetensors") and bit // 8 >= header:
            begin, hit = bit // 8 - header, json.loads(good[8:header])
            owner = next(k for k, v in hit.items() if v["data_offsets"][0] <= begin < v["data_offsets"][1])
            assert faults[0].what == f"is damaged in tensor {owner}"
            named.add(owner)
        file.write_bytes(good)
    assert len(named) >= 5
    assert last(tmp_path) == (newer, [])


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_truncation_at_any_length(tmp_path: Path, name: str) -> None:
    older, newer = save(tmp_path, 64, state(1)), save(tmp_path, 128, state(2))
    good = (newer / name).read_bytes()
    body = len(good.rstrip())  # the manifest ends with a line feed that nobody will miss
    for length in {0, 1, 7, 8, 9, body - 1, *random.Random(1).sample(range(body), 30)}:
        (newer / name).write_bytes(good[:length])
        found, faults = last(tmp_path)
        assert found == older and str(newer / name) == faults[0].where
        if name != "manifest.json":
            assert faults[0].what == f"is cut short: {length} of {len(good)} bytes"
    (newer / name).write_bytes(good + b"\0")
    assert last(tmp_path)[0] == older
    (newer / name).unlink()
    assert last(tmp_path)[0] == older and "cannot be read (No such file" in last(tmp_path)[1][0].what
    (newer / name).mkdir()
    assert last(tmp_path)[0] == older and "cannot be read (Is a directory" in last(tmp_path)[1][0].what


def rewrite(path: Path, **changes: Any) -> None:
    """A manifest that is wrong on purpose, and signed."""
    manifest = {**json.loads((path / "manifest.json").read_bytes()), **changes}
    atomic.write_json(path / "manifest.json", {**manifest, "sha256": checkpoint._own_digest(manifest)})


def test_newer_format(tmp_path: Path) -> None:
    older, newer = save(tmp_path, 64, state(1)), save(tmp_path, 128, state(2))
    rewrite(newer, format=2)
    found, faults = last(tmp_path)
    assert found == older and faults[0].what == "was written by a newer Kantor"


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "null",
        "{}",
        '"x"',
        "[" * 100000,
        '{"format": 1}',
        '{"format": "1", "files": {}}',
        "NaN",
        "9" * 5000,
        '{"format": 1, "files": []}',
        '{"format": 1, "files": {"state.json": 3}}',
        '{"format": null}',
    ],
    ids=lambda text: text[:30],
)
def test_hostile_manifests(tmp_path: Path, manifest: str) -> None:
    path = save(tmp_path, 64, state())
    (path / "manifest.json").write_text(manifest)
    with pytest.raises(ModelError, match=r"manifest\.json: is damaged"):
        load(path)


def test_hostile_values_in_a_valid_manifest(tmp_path: Path) -> None:
    path = save(tmp_path, 64, state())
    for values in (b"", b"[" * 100_000, b"3", b"[1]", b"\xff", b'"x"'):
        (path / "state.json").write_bytes(values)
        entry = {"bytes": len(values), "sha256": checkpoint._sha256(values)}
        rewrite(path, files=json.loads((path / "manifest.json").read_bytes())["files"] | {"state.json": entry})
        with pytest.raises(ModelError, match=r"state\.json: is not a JSON object"):
            load(path)


def framed(header: object, data: bytes = b"0000", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[int], begin: int = 0, end: int = 4, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HOSTILE = {
    "nothing": b"",
    "short": b"\0" * 7,
    "huge length": framed({}, length=2**63),
    "largest length": framed({}, length=2**64 - 1),
    "length beyond the end": framed({}, length=1000),
    "overlap": framed({"a": entry([1]), "b": entry([1])}),
    "gap": framed({"a": entry([1], 4, 8)}, b"00000000"),
    "beyond the end": framed({"a": entry([2], 0, 8)}),
    "trailing bytes": framed({"a": entry([1])}, b"00000"),
    "backwards": framed({"a": entry([1], 4, 0)}),
    "negative": framed({"a": entry([-1])}),
    "overflow": framed({"a": entry([2**62, 4])}),
    "product overflow": framed({"a": entry([2**32, 2**32])}),
    "wrong size": framed({"a": entry([3])}),
    "unknown dtype": framed({"a": entry([1], dtype="F31")}),
    "four bits": framed({"a": entry([8], dtype="F4")}),
    "NaN": framed(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}'),
    "nested": framed(b"[" * 100_000 + b"]" * 100_000),
    "nested metadata": framed(b'{"__metadata__": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "nested shape": framed(b'{"a": {"dtype": "F32", "shape": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"),
    "not UTF-8": framed(b'{"\xff": 3}'),
    "many tensors": framed({f"t{i}": entry([1]) for i in range(50_000)}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_safetensors(name: str) -> None:
    started_s = time.perf_counter()
    with pytest.raises(ModelError, match="x: is not a valid safetensors file") as caught:
        from_bytes(Path("x"), HOSTILE[name])
    assert time.perf_counter() - started_s < 1
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_mutations_of_a_valid_file() -> None:
    rng, good, fine = random.Random(4), to_bytes(state().model), 0
    for _ in range(400):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            bad[rng.randrange(700 if rng.random() < 0.8 else len(bad))] = rng.choice(b'\0\xff0-9"{}[],:aF')
        with contextlib.suppress(ModelError):
            fine += len(from_bytes(Path("x"), bytes(bad))) > 0
    assert 0 < fine < 400, "both outcomes are met"


def test_the_bytes_of_a_checkpoint_are_those_of_earlier_versions(tmp_path: Path) -> None:
    path = save(tmp_path, 51_200, state())
    digest = hashlib.sha256(b"".join(data for _, data in sorted(contents(path).items()))).hexdigest()
    assert digest == "20fcd0ef32a0b78af83245bb1d110611e21b3f292b053b8d6e0343993fe12500"


def test_a_save_holds_one_file_in_memory_at_a_time(tmp_path: Path) -> None:
    size = 4_000_000
    tensors = {f"layer{i}": torch.full((size // 4,), float(i)) for i in range(4)}
    saved = Checkpoint(tensors, {f"{name}/exp_avg": value for name, value in tensors.items()}, {})
    tracemalloc.start()  # which sees bytes, not tensors
    try:
        path = save(tmp_path, 1000, saved)
        save(tmp_path, 1000, saved)  # which verifies what is there
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 4 * size < peak < 5 * size
    assert_same(load(path), saved)
