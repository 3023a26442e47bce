"""Narrower networks: every hidden width divided by a number, everything else as it is."""

from __future__ import annotations

from typing import Any, TypeVar

from kantor.config.networks import NetworkConfig

Network = TypeVar("Network", bound=NetworkConfig)

LEAST_WIDTH = 4


def slimmed(config: Network) -> Network:
    """The network with its widths divided by `config.slim`, rounded, and at least 4 (or as narrow as it was).

    "auto", which is chosen before training, counts as 1. Latents, classes, kernels and the image keep their sizes.
    """
    if config.slim in (1, "auto"):
        return config
    divisor = float(config.slim)

    def narrow(width: int) -> int:
        return max(round(width / divisor), min(width, LEAST_WIDTH))

    fields: dict[str, Any] = {"slim": 1.0, "width": narrow(config.width), "max_width": narrow(config.max_width)}
    if (base := getattr(config, "base", None)) is not None:
        fields["base"] = (*base[:2], narrow(base[2]))
    if (layers := getattr(config, "layers", None)) is not None:
        fields["layers"] = [layer.model_copy(update={"width": narrow(layer.width)}) for layer in layers]
    return config.model_copy(update=fields)
