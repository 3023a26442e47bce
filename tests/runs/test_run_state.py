"""The typed contents of a checkpoint: the keys on disk stay those of the first version."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kantor.engine.state import Counters
from kantor.errors import ModelError
from kantor.runs import checkpoint as checkpoints
from kantor.runs.checkpoint import Checkpoint, DamagedCheckpointError
from kantor.runs.run_state import RunState, tensor_mismatch
from kantor.types import ImageSpec

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "state-5690a5f.json").read_text())
MODEL = {"generator/a": torch.zeros(2), "average/a": torch.ones(2), "critic/b.weight": torch.full((3,), 2.0)}


def written(folder: Path, values: dict[str, Any]) -> Path:
    return checkpoints.save(folder, 16, Checkpoint(MODEL, {"critic/b.weight/exp_avg": torch.zeros(3)}, values))


def test_an_old_checkpoint_is_read(tmp_path: Path) -> None:
    state = RunState.load(written(tmp_path, GOLDEN))
    assert state.images_seen == state.feed_position == 16
    assert state.counters.keys() == {field.name for field in fields(Counters)}
    assert state.tally == GOLDEN["tally"] and state.tally
    assert state.spec == state.image_spec() == ImageSpec(16, 16, 3)
    assert state.class_names[:3] == ("1", "2", "5")
    assert (state.condition, state.fingerprint) == (0, GOLDEN["fingerprint"])
    config = state.config()
    assert (config.train.batch, config.critic.width, config.train.conditional) == (4, 4, True)  # type: ignore[union-attr]
    penalty, *_ = config.objective.penalties.values()
    assert penalty.over == "image"  # "picture" then
    values = config.model_dump(mode="json")
    since_then = {
        "cycle.shared_images": False, "train.horizon_images": "auto", "generator.modulation": False, "generator.alpha": "straight",
        "train.augment": 0.0, "train.augment_shift": 0.125, "train.augment_cutout": 0.5, "data.rules": 1, "data.range": "auto",
        "data.nodata": "reject", "data.split": "auto", "data.links": "inside", "data.frames": "first", "data.tile": 0,
        "data.transpose": False, "critic.freeze": 0, "train.keep_counters": False, "train.keep": "auto", "train.retune": False,
        "generator.slim": 1, "critic.slim": 1,
        "data.objects": "none", "data.objects_smallest": 0.005, "data.objects_largest": 0.9, "data.objects_margin": 0.05,
        "data.smaller": 2, "objective.features": 0.0,
    }  # fmt: skip
    for field, default in since_then.items():
        section, _, name = field.partition(".")
        assert values[section].pop(name) == default, field
    assert values.pop("guide") == {"controls": [], "weight": 0.5}
    assert [penalty.pop("share") for penalty in values["objective"]["penalties"].values()] == [1.0, 1.0]
    fields_then = json.dumps(GOLDEN["config"], sort_keys=True).replace('"picture"', '"image"')
    assert json.dumps(values, sort_keys=True) == fields_then
    weights = state.weights("critic")
    assert weights.keys() == {"b.weight"} and torch.equal(weights["b.weight"], MODEL["critic/b.weight"])


def test_state_json_has_the_keys_and_bytes_of_the_first_version(tmp_path: Path) -> None:
    old = written(tmp_path / "old", GOLDEN)
    new = RunState.load(old).save(tmp_path / "new")
    for name in (*checkpoints.FILES, "manifest.json"):
        assert (new / name).read_bytes() == (old / name).read_bytes()


@pytest.mark.parametrize("key", ["config", "counters", "feed", "fingerprint", "listeners"])
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    path = written(tmp_path, {name: value for name, value in GOLDEN.items() if name != key})
    with pytest.raises(DamagedCheckpointError, match=rf"{path.name}: lacks {key}; use an older one"):
        RunState.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("counters", []), ("counters", {"images_seen": "x"}), ("feed", None), ("spec", [1]), ("config", 3)],
)
def test_an_unexpected_value_is_an_error_that_names_the_file(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"state\.json: has an unexpected value"):
        RunState.load(written(tmp_path, GOLDEN | {key: value}))


def test_keys_that_older_checkpoints_lack(tmp_path: Path) -> None:
    optional = ("spec", "class_names", "condition", "condition_settings")
    state = RunState.load(written(tmp_path, {key: value for key, value in GOLDEN.items() if key not in optional}))
    assert (state.spec, state.class_names, state.condition, state.condition_settings) == (None, (), 0, {})
    with pytest.raises(ModelError, match="does not say what its images are"):
        state.image_spec()


def test_a_configuration_of_another_version_is_named(tmp_path: Path) -> None:
    state = RunState.load(written(tmp_path, GOLDEN))
    newer = replace(state, config_fields={**GOLDEN["config"], "train": {"warp": 9}})
    with pytest.raises(ModelError, match=r"cannot read its configuration: train\.warp.*; use the version"):
        newer.config()


def test_mismatched_tensors_are_named_in_a_short_line() -> None:
    saved = {f"critic/{i}.weight": torch.zeros(2, i + 1) for i in range(9)} | {"average/a": torch.zeros(1)}
    assert tensor_mismatch(saved, saved) == ""
    expected = saved | {"critic/0.weight": torch.zeros(3, 1), "critic/new.bias": torch.zeros(())}
    del expected["average/a"]
    text = tensor_mismatch(saved, expected)
    assert "critic/0.weight is [2, 1] in the checkpoint and [3, 1] in the network" in text
    assert "average/a is not in the network" in text
    assert "critic/new.bias is not in the checkpoint" in text
    many = tensor_mismatch(saved, {name: torch.zeros(7) for name in saved})
    assert many.endswith("and 8 more") and len(many) < 300 and "\n" not in many
