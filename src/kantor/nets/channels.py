"""Colour channels apart: a branch of MBConv blocks for each channel of the image, after EfficientNet (Tan and Le 2019).

The critic splits an image into its channels, and a 1x1 convolution merges the branches before the dense layer. The generator is
its mirror image, but for a trunk: its first blocks are shared, so that a shape is decided once and not for each colour anew.
Branches are a loop and not groups of one convolution, which take as long on a CPU: so each is normalised on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kantor.config.networks import ChannelsCritic, ChannelsGenerator
from kantor.nets import layers, ops
from kantor.nets.freeze import Stages
from kantor.nets.layer_order import LayerOrder
from kantor.types import ImageSpec

SQUEEZE = 4
"""Inputs of a block for each number that its channels are squeezed into: a ratio of 0.25 in EfficientNet."""

Size = tuple[int, int]
Norm = Callable[[int], nn.Module]


class Generator(nn.Module):
    """A dense layer, a trunk, and a branch for each channel: (z [N, D], labels [N] or None) -> [N, C, H, W] in [-1, 1]."""

    order = LayerOrder(("trunk", "branches"), {"base.weight": 1})

    def __init__(self, config: ChannelsGenerator, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits, norm = layers.traits(config.norm), _norm(config)
        sizes = layers.ladder(spec.height, spec.width, round_up=True)[::-1]
        widths = layers.channels(config.width, config.max_width, len(sizes) - 1)[::-1]
        widths, count = [widths[0], *widths], spec.channels if config.apart else 1
        expand = [config.expand] * (len(sizes) - 2) + [1]
        shared = min(config.trunk, len(sizes) - 1)
        self.latent = layers.LabelledLatent(config.latent_dim, classes)
        self.smallest = sizes[0]
        self.base = nn.Linear(self.latent.dim, widths[0] * sizes[0][0] * sizes[0][1])
        self.base_norm = norm(widths[0])
        steps = _steps(widths, sizes, expand)
        self.trunk = nn.ModuleList(_blocks(steps[:shared], config.depth, norm))
        self.split = ops.Conv2d(widths[shared], count * widths[shared], 1)
        self.branches = _side_by_side(_blocks(steps[shared:], config.depth, norm) for _ in range(count))
        outputs = 1 if config.apart else spec.channels
        self.pictures = Parallel(ops.conv3x3(widths[-1], outputs) for _ in range(count))

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = self.base(self.latent(z, labels)).unflatten(1, (-1, *self.smallest))
        x = ops.leaky_relu(self.base_norm(x.contiguous(memory_format=torch.channels_last)))
        for block in self.trunk:
            x = block(x)
        parts = _parted(self.split(x), len(self.pictures))
        for blocks in self.branches:
            parts = blocks(parts)
        colours = self.pictures([ops.leaky_relu(part) for part in parts])
        return torch.tanh(torch.cat(colours, dim=1))


class Critic(nn.Module):
    """A branch for each channel, a merging 1x1 convolution, a score: (x [N, C, H, W], labels [N] or None) -> [N], unbounded."""

    def __init__(self, config: ChannelsCritic, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits, norm = layers.traits(config.norm, config.minibatch_stddev), _norm(config)
        sizes = layers.ladder(spec.height, spec.width, round_up=False)
        widths = layers.channels(config.width, config.max_width, len(sizes) - 1)
        count, inputs = (spec.channels, 1) if config.apart else (1, spec.channels)
        kernel, stride = layers.step(*sizes[:2])
        self.stems = Parallel(ops.Conv2d(inputs, widths[0], kernel, stride, (1, 1)) for _ in range(count))
        # the blocks after the first convolution keep its size
        expand = [1] + [config.expand] * (len(sizes) - 2)
        steps = _steps([widths[0], *widths], [sizes[1], *sizes[1:]], expand)
        self.branches = _side_by_side(_blocks(steps, config.depth, norm) for _ in range(count))
        self.dropouts = nn.ModuleList(layers.dropout(config.dropout) for _ in self.branches)
        merged = min(count * widths[-1], config.max_width)
        self.merge, self.merge_norm = ops.Conv2d(count * widths[-1], merged, 1), norm(merged)
        self.stddev, more = layers.minibatch_stddev(config.minibatch_stddev)
        self.score = ops.Conv2d(merged + more, 1, sizes[-1])
        self.projection = layers.Projection(merged, classes)

    def stages(self) -> Stages:
        """The layers that can be frozen: see kantor.nets.freeze."""
        return [(self.stems,), *((blocks,) for blocks in self.branches), (self.merge, self.merge_norm)]

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        parts = [ops.leaky_relu(part) for part in self.stems(_parted(x, len(self.stems)))]
        for drop, blocks in zip(self.dropouts, self.branches, strict=True):
            parts = blocks([drop(part) for part in parts])
        x = ops.leaky_relu(self.merge_norm(self.merge(torch.cat(parts, dim=1))))
        score: Tensor = self.score(self.stddev(x)).flatten() + self.projection(x, labels)
        return score


class Step(NamedTuple):
    """What a block does: see `Block`."""

    inputs: int
    outputs: int
    expand: int
    before: Size
    after: Size


class Block(nn.Module):
    """An MBConv block: expand (1x1), filter each channel (3x3), weigh the channels, project (1x1).

    What halves is pooled after the filter: in bfloat16, CPUs filter channels apart eight times faster without a stride.
    Its input is added to its output if both have as many channels, pooled or upsampled where sizes differ.

    Args:
        step: channels; sizes in pixels, each side of the output the same, half or twice that of the input; and hidden channels for
            each of the inputs or outputs, whichever are fewer. No expanding convolution if there are as many as inputs.
        norm: normalisation, of the filtered channels.
    """

    def __init__(self, step: Step, norm: Norm) -> None:
        super().__init__()
        inputs, outputs, expand, before, self.size = step
        hidden = expand * min(inputs, outputs)
        self.grows, self.residual = self.size > before, inputs == outputs
        self.expand = nn.Sequential(*([ops.Conv2d(inputs, hidden, 1), Leaky()] if hidden != inputs else []))
        self.filter = ops.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.norm = norm(hidden)
        self.gate = Gate(hidden, max(1, inputs // SQUEEZE))
        self.project = ops.Conv2d(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.expand(x)  # before upsampling, which it commutes with: there it costs a quarter
        y = layers.pool(self.filter(self._grown(y)), self.size)
        y = ops.leaky_relu(self.norm(y))
        y = self.project(y * self.gate(y))
        return y + layers.pool(self._grown(x), self.size) if self.residual else y

    def _grown(self, x: Tensor) -> Tensor:
        return layers.upsample(x, self.size) if self.grows else x


class Gate(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018): a factor for each channel, from the means of all: [N, C, H, W] -> [N, C, 1, 1].

    Factors are in (0, 2), twice those of the paper: they start near 1, so that networks without a norm keep their scale.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        factors: Tensor = 2 * torch.sigmoid(self.excite(ops.leaky_relu(self.squeeze(x.mean(dim=(2, 3))))))
        return factors.to(x.dtype)[:, :, None, None]


class Parallel(nn.ModuleList):
    """A layer for each branch: one [N, C, H, W] for each -> the same."""

    def forward(self, parts: Sequence[Tensor]) -> list[Tensor]:
        return [layer(part) for layer, part in zip(self, parts, strict=True)]


class Leaky(nn.Module):
    """Leaky ReLU as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x)


def _norm(config: ChannelsGenerator | ChannelsCritic) -> Norm:
    return lambda width: layers.normalisation(config.norm, width, config.batch_norm)


def _steps(widths: Sequence[int], sizes: Sequence[Size], expand: Sequence[int]) -> list[Step]:
    """Between each two widths and sizes."""
    pairs = zip(pairwise(widths), expand, pairwise(sizes), strict=False)
    return [Step(*channels, factor, *step) for channels, factor, step in pairs]


def _blocks(steps: Iterable[Step], depth: int, norm: Norm) -> list[Block]:
    """`depth` blocks for each step, of which the first changes the size. As in EfficientNet, those next to the image do not expand."""
    blocks = []
    for step in steps:
        again = step._replace(inputs=step.outputs, before=step.after)
        blocks += [Block(which, norm) for which in [step, *[again] * (depth - 1)]]
    return blocks


def _side_by_side(branches: Iterable[list[Block]]) -> nn.ModuleList:
    """The first blocks of all branches, the second ones, ..."""
    return nn.ModuleList(Parallel(blocks) for blocks in zip(*branches, strict=True))


def _parted(x: Tensor, count: int) -> list[Tensor]:
    """The same number of channels for each of `count` branches."""
    parts = torch.split(x, x.shape[1] // count, dim=1)
    return [part.contiguous(memory_format=torch.channels_last) for part in parts]
