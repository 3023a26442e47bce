"""A run in TensorBoard (extra `tensorboard`): all numbers and both sheets, by images seen.

Its writer makes the files, so they are not written by `atomic`: they are a copy of what metrics.csv and samples/ hold,
and nothing reads them back.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kantor.engine.events import Event, Request, Sampled, Saved, Scored, Started, Tick
from kantor.errors import ResourceError
from kantor.sample.grid import grid

FOLDER = "tensorboard"
_GROUPS = {
    "critic": "critic",
    "generator": "generator",
    "wasserstein": "critic",
    "penalty": "critic",
    "gradient": "critic",
}


def require_tensorboard() -> None:
    """Raises ResourceError where the package is missing."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        what = "this needs one more package (tensorboard)"
        raise ResourceError("--tensorboard", what, "pip install 'kantor[tensorboard]'") from error


class TensorBoard:
    """Writes events into a folder, which TensorBoard watches. What a resumed run repeats replaces what was there.

    Args:
        folder: made by the first event.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if isinstance(event, Started):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=event.images_seen + 1)
        if self._writer is None:  # it could not be opened, which has been told
            return None
        match event:
            case Tick():
                for name, value in {**event.values, "images_per_second": event.images_per_second}.items():
                    self._scalar(name, value, event.images_seen)
            case Scored():
                for name, value in event.values.items():
                    self._writer.add_scalar(f"scores/{name}", value, event.images_seen)
            case Sampled():
                for name, images in (("fixed", event.fixed), ("random", event.random)):
                    self._writer.add_image(f"samples/{name}", grid(images), event.images_seen, dataformats="HWC")
            case Saved():
                self._writer.flush()
        return None

    def close(self) -> None:
        """Writes out what is left, however the run ended."""
        if self._writer is not None:
            self._writer.close()

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing is kept: the writer is told at the start where the run goes on."""

    def _scalar(self, name: str, value: float, images_seen: int) -> None:
        group = _GROUPS.get(name.partition("_")[0], "training")
        self._writer.add_scalar(f"{group}/{name}", value, images_seen)
