"""Reads configurations of older versions: values that have been renamed since.

`layered` in `config.io` passes every tree through `migrated`, so the old words of a file, a checkpoint, `--set` or
`overrides=` keep their meaning for ever. A renamed field belongs here too.
"""

from __future__ import annotations

from typing import Any

_RENAMED_VALUES: dict[tuple[str, ...], dict[str, str]] = {  # path, "*" for any name -> old value: new value
    ("cycle", "reuse"): {"pictures": "images"},
    ("objective", "penalties", "*", "over"): {"picture": "image"},
}


def migrated(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy of `tree`, a configuration or a part of one, in the words of this version."""
    for path, new_values in _RENAMED_VALUES.items():
        tree = _renamed(tree, path, new_values)
    cycle = tree.get("cycle")
    if isinstance(cycle, dict) and "split_updates" in cycle:  # in every config.toml, also of before `shared_images`
        tree = tree | {"cycle": {"shared_images": False} | cycle}
    generator = tree.get("generator")
    in_every_config = {"max_width", "latent", "latent_dim", "norm"}  # also of before `modulation`
    if isinstance(generator, dict) and generator.get("kind") == "upsampling" and in_every_config <= generator.keys():
        tree = tree | {"generator": {"modulation": False} | generator}
    if isinstance(generator, dict) and {"max_width", "latent", "latent_dim"} <= generator.keys():  # likewise of `alpha`
        tree = tree | {"generator": {"alpha": "straight"} | tree["generator"]}
    train = tree.get("train")
    if isinstance(train, dict) and {"batch", "seed", "tick_images"} <= train.keys():  # likewise of `augment`
        tree = tree | {"train": {"augment": 0.0} | train}
    return tree


def _renamed(value: Any, path: tuple[str, ...], new_values: dict[str, str]) -> Any:
    if not path:
        return new_values.get(value, value) if isinstance(value, str) else value
    if not isinstance(value, dict):
        return value
    name, *rest = path
    return {k: _renamed(v, tuple(rest), new_values) if name in ("*", k) else v for k, v in value.items()}
