"""Reads configurations of older versions: values that have been renamed since, and fields that they did not know.

`layered` in `config.io` passes every tree through `migrated`, so the old words of a file, a checkpoint, `--set` or
`overrides=` keep their meaning for ever. A renamed field belongs here too.
"""

from __future__ import annotations

from typing import Any

_RENAMED_VALUES: dict[tuple[str, ...], dict[str, str]] = {  # path, "*" for any name -> old value: new value
    ("cycle", "reuse"): {"pictures": "images"},
    ("objective", "penalties", "*", "over"): {"picture": "image"},
}
_SECTIONS = {"data", "generator", "critic", "objective", "cycle", "optimizer", "ema", "train"}  # of every config.toml


def migrated(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy of `tree`, a configuration or a part of one, in the words of this version.

    A whole one, as config.toml and checkpoints hold it, is known by its sections; it keeps the meaning of what it does not name.
    """
    for path, new_values in _RENAMED_VALUES.items():
        tree = _renamed(tree, path, new_values)
    if not all(isinstance(tree.get(section), dict) for section in _SECTIONS):
        return tree
    changed = {"generator": migrated_generator(tree["generator"])}
    if {"min_size", "max_bad", "choose_seed"} <= tree["data"].keys():
        changed["data"] = {"rules": 1} | tree["data"]
    if "split_updates" in tree["cycle"]:
        changed["cycle"] = {"shared_images": False} | tree["cycle"]
    if {"batch", "seed", "tick_images"} <= tree["train"].keys():
        changed["train"] = {"augment": 0.0} | tree["train"]
    return tree | changed


def migrated_generator(section: dict[str, Any]) -> dict[str, Any]:
    """A whole section "generator" in the words of this version; also that of a model file."""
    if not {"max_width", "latent", "latent_dim"} <= section.keys():
        return section
    modulation = {"modulation": False} if section.get("kind") == "upsampling" else {}
    return {"alpha": "straight"} | modulation | section


def _renamed(value: Any, path: tuple[str, ...], new_values: dict[str, str]) -> Any:
    if not path:
        return new_values.get(value, value) if isinstance(value, str) else value
    if not isinstance(value, dict):
        return value
    name, *rest = path
    return {k: _renamed(v, tuple(rest), new_values) if name in ("*", k) else v for k, v in value.items()}
