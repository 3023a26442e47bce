"""Words of older versions keep their meaning: in files, in checkpoints, and with --set."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from kantor.config.io import layered, read_toml, resolve, to_toml
from kantor.config.migrate import migrated
from kantor.config.schema import Config

OLD = {"cycle.reuse": "pictures", "objective.penalties.gradient.over": "picture"}


def test_a_config_with_old_values(tmp_path: Path) -> None:
    """old_config.toml is what a run of `fish32-as-coded` wrote before "images" and "image" replaced "pictures" and "picture"."""
    file = Path(__file__).with_name("old_config.toml")
    tree = read_toml(file)
    assert (tree["cycle"]["reuse"], tree["objective"]["penalties"]["r1"]["over"]) == ("pictures", "picture")
    config = resolve(file=file)
    fields = {"data.size": "48x96", "objective.penalties.r1.at.kind": "real"}
    assert config == resolve("fish32-as-coded", overrides=fields | {"generator.alpha": "straight", "data.rules": 1})
    assert not config.cycle.shared_images and not config.train.augment, (
        "which the default preset has, and this run did not know"
    )
    assert (config.cycle.reuse, config.objective.penalties["r1"].over) == ("images", "image")
    assert layered(Config(), tree, "the checkpoint") == config, "as a run is resumed"
    (tmp_path / "new.toml").write_text(to_toml(config))
    assert resolve(file=tmp_path / "new.toml") == config


def test_a_run_that_did_not_know_modulation_has_none() -> None:
    tree = tomllib.loads(to_toml(resolve()))
    assert layered(resolve(), tree, "the checkpoint").generator.modulation
    del tree["generator"]["modulation"]
    assert not layered(resolve(), tree, "the checkpoint").generator.modulation
    assert layered(resolve(), {"generator": {"kind": "upsampling", "width": 8}}, "a file").generator.modulation


def test_a_run_that_did_not_know_augmentation_has_none() -> None:
    tree = tomllib.loads(to_toml(resolve()))
    assert layered(resolve(), tree, "the checkpoint").train.augment == "auto"
    del tree["train"]["augment"]
    assert layered(resolve(), tree, "the checkpoint").train.augment == 0
    assert layered(resolve(), {"train": {"batch": 8}}, "a file").train.augment == "auto"


def test_a_run_that_did_not_know_guided_latents_has_none() -> None:
    tree = tomllib.loads(to_toml(resolve(overrides={"guide.controls": "none"})))
    del tree["guide"]
    assert layered(resolve(), tree, "the checkpoint").guide.controls == []


def test_a_run_that_did_not_know_rules_of_packing_keeps_the_first() -> None:
    tree = tomllib.loads(to_toml(resolve()))
    assert layered(resolve(), tree, "the checkpoint").data.rules == 2
    del tree["data"]["rules"]
    assert layered(resolve(), tree, "the checkpoint").data.rules == 1
    assert layered(resolve(), {"data": {"size": "64", "min_size": 8}}, "a file").data.rules == 2


def test_a_run_that_did_not_know_objects_keeps_whole_images() -> None:
    tree = tomllib.loads(to_toml(resolve(overrides={"data.objects": "auto"})))
    assert layered(resolve(), tree, "the checkpoint").data.objects == "auto"
    for name in ("objects", "objects_smallest", "objects_largest", "objects_margin"):
        del tree["data"][name]
    assert layered(resolve(), tree, "the checkpoint").data.objects == "none"


def test_a_part_of_a_configuration_is_not_an_old_one() -> None:
    parts: list[dict[str, Any]] = [
        {"train": {"batch": 16, "seed": 1, "tick_images": 100}},
        {"generator": {"kind": "upsampling", "max_width": 64, "latent": "normal", "latent_dim": 8, "norm": "pixel"}},
        {"cycle": {"split_updates": False}},
    ]
    for part in parts:
        config = layered(resolve(), part, "a file")
        assert config.train.augment == "auto" and config.cycle.shared_images
        assert config.generator.alpha == "premultiplied" and config.generator.modulation  # type: ignore[union-attr]


def test_old_values_with_set() -> None:
    config = resolve("wgan-gp", overrides=OLD)
    assert config.cycle.reuse == "images" and config.objective.penalties["gradient"].over == "image"
    whole = {"objective.penalties.gradient": {"over": "picture"}, "objective.penalties.new": {"over": "columns"}}
    penalties = resolve("wgan-gp", overrides=whole).objective.penalties
    assert (penalties["gradient"].over, penalties["new"].over) == ("image", "columns")


def test_other_values_stay() -> None:
    tree = {
        "cycle": 3,
        "objective": {"penalties": {"a": {"over": ["picture"]}, "b": 1}},
        "data": {"source": "pictures"},
    }
    assert migrated(tree) == tree
    old = {"cycle": {"reuse": "pictures"}}
    assert migrated(old) == {"cycle": {"reuse": "images"}} and old == {"cycle": {"reuse": "pictures"}}
