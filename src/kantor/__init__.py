"""Kantor trains Wasserstein GANs on your own pictures.

>>> import kantor
>>> kantor.__version__
'0.1.0'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kantor.api import (  # isort: skip
        Activations, Dropout, Model, Run, Save, Score, Scores, Stop, Traits, compare, critic, evaluate, extractor,
        generator, load, objective, onnx_extractor, pack, paint, presets, source, train,
    )  # fmt: skip
    from kantor.errors import ConfigError, DataError, ModelError, ResourceError, UserError

__all__ = [
    "Activations", "ConfigError", "DataError", "Dropout", "Model", "ModelError", "ResourceError", "Run", "Save",
    "Score", "Scores", "Stop", "Traits", "UserError", "compare", "critic", "evaluate", "extractor", "generator", "load",
    "objective", "onnx_extractor", "pack", "paint", "presets", "source", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Loads torch only once it is needed: `kantor --help` and `import kantor` are quick."""
    if name in __all__:
        from kantor import errors

        if hasattr(errors, name):
            return getattr(errors, name)
        from kantor import api

        return getattr(api, name)
    raise AttributeError(f"module 'kantor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
