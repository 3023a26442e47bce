"""TensorBoard (extra `tensorboard`): all numbers and both grids, by images seen.

TensorBoard's own writer makes the files, not `atomic`: they copy what metrics.csv and samples/ hold, and nothing reads
them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kantor.engine.events import Event, Listener, Request, Sampled, Saved, Scored, Started, Tick
from kantor.errors import ResourceError
from kantor.sample.grid import grid

FOLDER = "tensorboard"
_GROUPS = {"generator": "generator", **dict.fromkeys(("critic", "wasserstein", "penalty", "gradient"), "critic")}


def require_tensorboard() -> None:
    """Raises ResourceError if the package is missing."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        what = "this needs one more package (tensorboard)"
        raise ResourceError("--tensorboard", what, "pip install 'kantor[tensorboard]'") from error


def goes_on(folder: Path, note: Callable[[str], None]) -> bool:
    """Whether a run that was logged before is logged on. Notes what to do if the package is no longer there."""
    if not folder.is_dir():
        return False
    try:
        require_tensorboard()
    except ResourceError as error:
        note(f"{folder} does not go on: {error.what}; {error.do}")
        return False
    return True


class TensorBoard(Listener):
    """Writes into a folder that TensorBoard watches. Steps that a resumed run repeats replace the old ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if isinstance(event, Started):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=event.images_seen + 1)
        if self._writer is None:  # opening it failed, which was reported
            return None
        match event:
            case Tick():
                for name, value in {**event.values, "images_per_second": event.images_per_second}.items():
                    group = _GROUPS.get(name.partition("_")[0], "training")
                    self._writer.add_scalar(f"{group}/{name}", value, event.images_seen)
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
        if self._writer is not None:
            self._writer.close()
