"""Kantor from Python: train, load and generate with the words and errors of the command line.

Everything here is also available as `kantor.NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kantor.api.comparison import compare
from kantor.api.evaluation import evaluate
from kantor.api.model import Model, load
from kantor.api.painting import paint
from kantor.api.training import Run, train
from kantor.app.dataset.options import PackOptions
from kantor.app.dataset.pack import pack_source
from kantor.config.io import preset_names, preset_text
from kantor.data.sources.python_object import register as source
from kantor.engine.events import Save, Stop
from kantor.errors import ConfigError
from kantor.metrics.extractors import onnx as onnx_extractor
from kantor.metrics.extractors import register as extractor
from kantor.metrics.features import Activations
from kantor.metrics.score import Score, Scores
from kantor.nets import custom
from kantor.nets.layers import Dropout
from kantor.objectives.objective import register as objective
from kantor.progress import silent
from kantor.types import Traits

__all__ = [
    "Activations", "Dropout", "Model", "Run", "Save", "Score", "Scores", "Stop", "Traits", "compare", "critic", "evaluate",
    "extractor", "generator", "load", "objective", "onnx_extractor", "pack", "paint", "presets", "source",
    "train",
]  # fmt: skip


def generator(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that registers a custom generator, for `generator.kind = "custom"`, `generator.name = name`.

    The decorated function or class takes (config, spec, classes) and returns a torch module with `traits`:
    (latents [N, D], labels [N] or None, condition) -> [N, C, H, W] in [-1, 1]. See docs/extend.md.
    """
    return custom.register("generator", name)


def critic(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that registers a custom critic, for `critic.kind = "custom"`, `critic.name = name`.

    Like `generator`; the module is (images [N, C, H, W], labels [N] or None, condition) -> scores [N].
    """
    return custom.register("critic", name)


def pack(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    format: str = "npy",
    overwrite: bool = False,
    **fields: Any,
) -> list[str]:
    """Resizes images once, into a packed dataset, as `kantor pack` does.

    Args:
        source: a folder, archive or file; or several, which become one dataset.
        format: "npy" for Kantor; "tfrecord" or "webdataset".
        fields: any fields of [data] in the configuration: size="64", crop=108, fit="contain" ...
    Returns:
        Lines that say what was done.
    """
    if not isinstance(source, str | Path) and not (
        isinstance(source, list | tuple) and source and all(isinstance(path, str | Path) for path in source)
    ):
        what = f"images of type {type(source).__name__} cannot be packed"
        raise ConfigError("source", what, "name files and folders; kantor.train takes images in memory")
    paths = [str(path) for path in ([source] if isinstance(source, str | Path) else source)]
    words = {"sources": paths, "out": out, "format": format, "overwrite": overwrite}
    fields = {f"data.{name}": value for name, value in fields.items()}
    return pack_source(PackOptions.from_words({**words, "overrides": fields}), silent)


def presets() -> dict[str, str]:
    """The presets that come with Kantor, by name, each with a line of description.

    >>> import kantor
    >>> "wgan-gp" in kantor.presets()
    True
    """
    return {name: preset_text(name).splitlines()[0].removeprefix("# ") for name in preset_names()}
