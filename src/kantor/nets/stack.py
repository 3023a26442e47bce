"""Networks of layers as the configuration lists them, for one image size, such as those of published code.

Padding is TensorFlow's "SAME" (`nets.same_padding`). `width` and `max_width` are ignored: every layer has its own width.
Layers marked `grown` can be faded in (`nets.progressive`). The old and the new image are mixed after the output activation,
so that at the start the output is exactly the smaller network's image, each pixel doubled.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from kantor.config.networks import DownLayer, StackCritic, StackGenerator, UpLayer
from kantor.errors import ConfigError
from kantor.nets import ops, progressive
from kantor.nets.freeze import Stages
from kantor.nets.layer_order import LayerOrder
from kantor.nets.layers import LabelledLatent, Projection, dropout, minibatch_stddev, normalisation, pool, traits
from kantor.nets.normalised_convolution import PART, large
from kantor.nets.same_padding import DownStep, Size, UpStep, chained, output_size
from kantor.types import ImageSpec

LARGEST = 2048
"""Largest side of any layer's output, in pixels."""

ACTIVATIONS = {"relu": ops.relu, "leaky-relu": ops.leaky_relu}


class Generator(progressive.Fading):
    """A dense layer, then convolutions from its few pixels: (z [N, D], labels [N] or None) -> [N, C, H, W] in [-1, 1]."""

    order = LayerOrder(("layers",), {"base.weight": 1})

    def __init__(self, config: StackGenerator, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__(config)
        sizes = _sizes(config, spec)
        if self.fade_images:
            progressive.check_generator(config, self.growth, sizes)
        self.traits = traits(config.norm if len(config.layers) > 1 else "none")
        self.smallest, self.sigmoid = sizes[0], config.output == "sigmoid"
        self.activation = ACTIVATIONS[config.activation]
        self.first = self.activation if config.base_activation else nn.Identity()
        self.latent = LabelledLatent(config.latent_dim, classes)
        self.base = nn.Linear(self.latent.dim, config.base[2] * sizes[0][0] * sizes[0][1])
        widths = [config.base[2], *(layer.width for layer in config.layers[:-1])]
        hidden = [
            UpStep(layer, a, b, size, normalisation(config.norm, b, config.batch_norm), self.activation)
            for layer, a, b, size in zip(config.layers, widths, widths[1:], sizes, strict=False)
        ]
        last = UpStep(config.layers[-1], widths[-1], spec.channels, sizes[-2], nn.Identity(), nn.Identity())
        self.layers = nn.ModuleList([*hidden, last])
        self.largest = max(h * w * c for (h, w), c in zip(sizes, widths, strict=False))
        if self.split is not None:
            layer = UpLayer(kernel=config.layers[-1].kernel)
            inputs, size = widths[self.split], sizes[self.split]
            self.old_picture = UpStep(layer, inputs, spec.channels, size, nn.Identity(), nn.Identity())
            self.factor = sizes[-1][0] // sizes[self.split][0]

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        if not large(z, self.largest):
            return self._generated(z, labels)
        if self.training:
            if self.split is not None or self.mixed:
                return self._generated(z, labels)
            return self._output(chained(cast(list[UpStep], list(self.layers)), self._base(z, labels)))
        # out of training an image depends on no other: a few at a time need less memory
        at_once = max(1, PART // self.largest)
        some = torch.split(z, at_once)
        theirs = [None] * len(some) if labels is None else torch.split(labels, at_once)
        return torch.cat([self._generated(*pair) for pair in zip(some, theirs, strict=True)])

    def _generated(self, z: Tensor, labels: Tensor | None) -> Tensor:
        x = self._base(z, labels)
        old = None
        for number, layer in enumerate(self.layers):
            if number == self.split:
                old = self._output(self.old_picture(x))
            y = layer(x)
            x = self._mix(x, y) if number in self.mixed else y
        image = self._output(x)
        if old is None:
            return image
        return self._mix(nn.functional.interpolate(old, scale_factor=float(self.factor)), image)

    def _base(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.first(self.base(self.latent(z, labels)).unflatten(1, (-1, *self.smallest)))

    def _output(self, x: Tensor) -> Tensor:
        return 2 * torch.sigmoid(x) - 1 if self.sigmoid else torch.tanh(x)


class Critic(progressive.Fading):
    """Convolutions, then a dense layer that outputs the score: (x [N, C, H, W], labels [N] or None) -> [N], unbounded."""

    def __init__(self, config: StackCritic, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__(config)
        if self.fade_images:
            progressive.check_critic(config, self.growth, spec[:2])
        norms = [config.norm if number or config.norm_first else "none" for number in range(len(config.layers))]
        self.traits = traits(norms[-1], config.minibatch_stddev)
        size, inputs, layers, largest = spec[:2], spec.channels, [], 0
        for layer, norm in zip(config.layers, norms, strict=True):
            layers.append(DownStep(layer, inputs, size, normalisation(norm, layer.width, config.batch_norm)))
            size, inputs = output_size(layer, size), layer.width
            largest = max(largest, inputs * size[0] * size[1])
        self.layers, self.largest = nn.ModuleList(layers), largest
        self.chains = self.split is None and not self.mixed and not config.dropout
        self.dropouts = nn.ModuleList(dropout(config.dropout if number else 0.0) for number in range(len(layers)))
        self.unit = config.range == "unit"
        if self.split is not None:
            first = DownLayer(kernel=config.layers[0].kernel, width=config.layers[self.split - 1].width)
            self.halved = (spec.height // 2, spec.width // 2)
            old_norm = normalisation(norms[0], first.width, config.batch_norm)
            self.old_first = DownStep(first, spec.channels, self.halved, old_norm)
        self.stddev, more = minibatch_stddev(config.minibatch_stddev)
        self.score = nn.Linear((inputs + more) * size[0] * size[1], 1)
        self.projection = Projection(inputs, classes)

    def stages(self) -> Stages:
        """The layers that can be frozen: see kantor.nets.freeze."""
        return [(layer,) for layer in self.layers]

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = (x + 1) / 2 if self.unit else x
        if self.chains and large(x, self.largest):
            x = chained(cast(list[DownStep], list(self.layers)), x)
            return self._scored(x, labels)
        old = None if self.split is None else self.old_first(pool(x, self.halved))
        for number, (drop, layer) in enumerate(zip(self.dropouts, self.layers, strict=True)):
            if old is not None and number == self.split:
                x = self._mix(old, x)
            y = layer(drop(x))
            x = self._mix(x, y) if number in self.mixed else y
        if old is not None and self.split == len(self.layers):
            x = self._mix(old, x)
        return self._scored(x, labels)

    def _scored(self, x: Tensor, labels: Tensor | None) -> Tensor:
        score: Tensor = self.score(self.stddev(x).flatten(1)).flatten() + self.projection(x, labels)
        return score


def _sizes(config: StackGenerator, spec: ImageSpec) -> list[Size]:
    """Input size of each layer, and the size of the image, at which the layers must end."""
    sizes: list[Size] = [config.base[:2]]
    for number, layer in enumerate(config.layers):
        _check_layer(layer, sizes[-1], f"generator.layers.{number}")
        sizes.append(output_size(layer, sizes[-1]))
    if sizes[-1] != spec[:2]:
        height, width = sizes[-1]
        expected = f"{spec.height}" if spec.height == spec.width else f"{spec.height}x{spec.width}"
        size = f"{height}" if height == width else f"{height}x{width}"
        what = f"make images of {height}x{width}, but data.size is {expected}"
        networks = "--set generator.kind=upsampling --set critic.kind=dcgan"
        do = f"choose --size {size}, a preset of another size, or networks for any size: {networks}"
        raise ConfigError("generator.layers", what, do)
    return sizes


def _check_layer(layer: UpLayer, size: Size, where: str) -> None:
    if layer.stride > layer.kernel:
        what = f"a kernel of {layer.kernel} leaves gaps at a stride of {layer.stride}"
        raise ConfigError(where, what, "choose a kernel at least as large as the stride")
    uncropped = output_size(layer.model_copy(update={"crop": 0}), size)
    if layer.crop > max(uncropped):
        raise ConfigError(where, f"crops {uncropped[0]}x{uncropped[1]} to {layer.crop}", "choose a smaller crop, or 0")
    if max(uncropped) > LARGEST:
        raise ConfigError(where, f"outputs {uncropped[0]}x{uncropped[1]} pixels", f"stay below {LARGEST} a side")
