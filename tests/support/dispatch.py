"""Modes that look at every operator that is run."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_DATA_DEPENDENT = (
    "nonzero",
    "masked_select",
    "unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "equal",
    "is_nonzero",
)


class MultiplyAdds(TorchDispatchMode):
    """Counts the multiply-adds of convolutions and matrix products."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        if func._overloadpacket in flop_registry:  # two operations for each
            self.total += flop_registry[func._overloadpacket](*args, **kwargs or {}, out_val=out) // 2
        return out


class HostWaits(TorchDispatchMode):
    """Notes what makes the host wait for the device: numbers read, copies from it, shapes that depend on data.

    On a processor nothing is a copy to the host, so copies are watched for where the device is another one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        name = func._overloadpacket.__name__
        masks = [a for a in (args[1] if name.startswith("index") and len(args) > 1 else ()) if a is not None]
        by_mask = name in ("index", "index_put", "index_put_") and any(m.dtype == torch.bool for m in masks)
        to_host = (
            isinstance(out, torch.Tensor)
            and out.device.type == "cpu"
            and any(isinstance(a, torch.Tensor) and a.device.type != "cpu" for a in args)
        )
        if name == "_local_scalar_dense" or name in _DATA_DEPENDENT or by_mask or to_host:
            self.found.append(name)
        return out
