"""What a run needs to continue, typed: this file alone knows the keys of state.json and the names of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from kantor.errors import ConfigError, ModelError
from kantor.runs import checkpoint as checkpoints
from kantor.runs.checkpoint import Checkpoint, DamagedCheckpointError
from kantor.types import ImageSpec

if TYPE_CHECKING:
    from kantor.config.schema import Config

_REQUIRED = ("config", "counters", "feed", "fingerprint", "listeners")
_MAX_DIFFERENCES = 2


@dataclass(frozen=True)
class RunState:
    """A run at a number of images.

    Attributes:
        path: the checkpoint it was read from; for a new one, the run.
        model: weights and buffers by name: "generator/layers.0.weight", "critic/...", "average/...".
        optimizer: state of the optimizers by name: "critic/layers.0.weight/exp_avg".
        counters: of `engine.state.Counters`, among them images_seen.
        tally: sums since the last tick: name -> (total, count).
        feed_position: images that the feed has handed out.
        listeners: state of each listener by name.
        config_fields: the configuration as a tree of JSON values.
        fingerprint: of the training set.
        spec, class_names, condition, condition_settings: see `export.weights.Card`; spec is None in a checkpoint that does not say.
    """

    path: Path
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    counters: Mapping[str, Any]
    tally: Mapping[str, Any]
    feed_position: int
    listeners: Mapping[str, Any]
    config_fields: Mapping[str, Any]
    fingerprint: str
    spec: ImageSpec | None
    class_names: tuple[str, ...]
    condition: int
    condition_settings: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> RunState:
        """Reads and verifies a checkpoint.

        Raises:
            ModelError: damaged, incomplete or of a newer version; names the file.
        """
        checkpoint = checkpoints.load(path)
        values = checkpoint.values
        if missing := [key for key in _REQUIRED if key not in values]:
            raise DamagedCheckpointError(path, f"lacks {', '.join(missing)}")
        try:
            spec = values.get("spec")
            return cls(
                path=path,
                model=checkpoint.model,
                optimizer=checkpoint.optimizer,
                counters={**values["counters"], "images_seen": int(values["counters"]["images_seen"])},
                tally=dict(values.get("tally", {})),
                feed_position=int(values["feed"]),
                listeners=dict(values["listeners"]),
                config_fields=dict(values["config"]),
                fingerprint=str(values["fingerprint"]),
                spec=None if spec is None else ImageSpec(*spec),
                class_names=tuple(values.get("class_names", ())),
                condition=int(values.get("condition", 0)),
                condition_settings=dict(values.get("condition_settings", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedCheckpointError(path / "state.json", f"has an unexpected value ({error})") from error

    def save(self, folder: Path) -> Path:
        """Writes the checkpoint folder/000051200, whole or not at all, and returns its path."""
        values = {
            **self.engine_values,
            "feed": self.feed_position,
            "listeners": self.listeners,
            "config": self.config_fields,
            "fingerprint": self.fingerprint,
            "spec": None if self.spec is None else list(self.spec),
            "class_names": list(self.class_names),
            "condition": self.condition,
            **({"condition_settings": dict(self.condition_settings)} if self.condition_settings else {}),
        }
        return checkpoints.save(folder, self.images_seen, Checkpoint(self.model, self.optimizer, values))

    @property
    def images_seen(self) -> int:
        return int(self.counters["images_seen"])

    @property
    def engine_values(self) -> dict[str, Any]:
        """What `engine.state.State.load` expects besides tensors."""
        return {"counters": self.counters, "tally": self.tally}

    def config(self) -> Config:
        """The configuration of the run when it was saved: config.toml may have been edited since.

        Raises:
            ModelError: this version cannot read it.
        """
        from kantor.config.io import (
            layered,
        )  # the whole configuration takes a while, and a model needs its generator's alone
        from kantor.config.schema import Config

        try:
            return layered(Config(), dict(self.config_fields), "its configuration")
        except ConfigError as error:
            what = f"this version cannot read {error.where}: {error.what}"
            raise ModelError(self.path, what, "use the version that wrote the checkpoint") from error

    def weights(self, network: str) -> dict[str, Tensor]:
        """Weights and buffers of "generator", "critic" or "average" (the EMA generator), by their names in it."""
        prefix = f"{network}/"
        return {name.removeprefix(prefix): tensor for name, tensor in self.model.items() if name.startswith(prefix)}

    def image_spec(self) -> ImageSpec:
        """`spec`; raises ModelError if the checkpoint does not say."""
        if self.spec is None:
            raise ModelError(self.path, "does not say what its images are", "use generator.safetensors")
        return self.spec


def tensor_mismatch(saved: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """The first few differences in name and shape between saved tensors and a network's, in one line; "" if none."""
    differences = []
    for name in sorted({*saved, *expected}):
        if name not in expected:
            differences.append(f"{name} is not in the network")
        elif name not in saved:
            differences.append(f"{name} is not in the checkpoint")
        elif saved[name].shape != expected[name].shape:
            old, new = list(saved[name].shape), list(expected[name].shape)
            differences.append(f"{name} is {old} in the checkpoint and {new} in the network")
    more = len(differences) - _MAX_DIFFERENCES
    return ", ".join(differences if more <= 1 else [*differences[:_MAX_DIFFERENCES], f"and {more} more"])
