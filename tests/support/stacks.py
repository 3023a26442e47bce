"""The stacks of layers that the seeds and the paper describe, and small ones that grow."""

from __future__ import annotations

from typing import Any

from kantor.config.networks import DownLayer, StackCritic, StackGenerator, UpLayer


def up(width: int = 128, kernel: int = 5, upsample: bool = False, **more: Any) -> UpLayer:
    return UpLayer(width=width, kernel=kernel, upsample=upsample, **more)


def down(width: int = 128, kernel: int = 4, stride: int = 2, **more: Any) -> DownLayer:
    return DownLayer(width=width, kernel=kernel, stride=stride, **more)


FISH: dict[str, Any] = {"latent_dim": 256, "base": (8, 8, 128), "norm": "pixel"}
FISH32 = (
    StackGenerator(**FISH, layers=[up(), up(kernel=4), up(upsample=True), up(upsample=True), up()]),
    StackCritic(
        minibatch_stddev="batch",
        dropout=0.5,
        layers=[down(kernel=5, stride=1), down(), down(), down(256), down(256, 3, 1), down(256, 4, 1)],
    ),
)
FISH64 = (
    StackGenerator(
        **FISH,
        layers=[
            up(), up(kernel=4), up(upsample=True), up(upsample=True),
            up(grown=True), up(upsample=True, grown=True), up(),
        ],
    ),
    StackCritic(
        minibatch_stddev="batch",
        dropout=0.4,
        layers=[
            down(kernel=5, stride=1, grown=True), down(grown=True), down(), down(kernel=3, stride=1, grown=True),
            down(), down(256), down(256, 3, 1), down(256, 4, 1),
        ],
    ),
)  # fmt: skip
COLOUR128 = (
    StackGenerator(base=(4, 4, 32), layers=[*(up(width, 3, True) for width in (32, 64, 128, 512, 256)), up(kernel=3)]),
    StackCritic(norm="batch", norm_first=True, layers=[down(64, 3, 1), down(128, 3, 4), down(256, 3, 4)]),
)
MNIST28 = (
    StackGenerator(
        latent_dim=128, base=(4, 4, 256), base_activation=True, activation="relu", norm="none", output="sigmoid",
        init="tflib", layers=[up(128, stride=2, crop=7), up(64, stride=2), up(stride=2)],
    ),
    StackCritic(range="unit", init="tflib", layers=[down(width, 5, 2) for width in (64, 128, 256)]),
)  # fmt: skip


def narrowed(config: Any, divisor: int = 4) -> Any:
    """The same network, a stack or another, with this part of its channels everywhere."""
    if config.kind != "stack":
        return config.model_copy(update={name: getattr(config, name) // divisor for name in ("width", "max_width")})
    layers = [layer.model_copy(update={"width": max(1, layer.width // divisor)}) for layer in config.layers]
    more = {"base": (*config.base[:2], config.base[2] // divisor)} if isinstance(config, StackGenerator) else {}
    return config.model_copy(update={"layers": layers, **more})


def thin(config: Any, width: int = 4) -> Any:
    """The same stack with so many channels everywhere, and 6 numbers in a latent."""
    layers = [layer.model_copy(update={"width": width}) for layer in config.layers]
    more = {"base": (*config.base[:2], width), "latent_dim": 6} if isinstance(config, StackGenerator) else {}
    return config.model_copy(update={"layers": layers, **more})
