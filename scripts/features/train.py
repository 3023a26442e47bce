"""Trains kantor-small, the network that scores are measured with, and writes its weights into the package.

    make data && make features

The network has to see what goes wrong in generated images, so it learns several things of each image at once:

- what it shows: one of 36 letters (glyphs, rendered here), 10 garments (Fashion-MNIST) or 10 handwritten digits;
- of glyphs also the typeface, the ground and how the letter lies (turn, size, place);
- colours: the hue's name, and ink and paper as RGB; grey images are shown as they are, inverted, and in two tints;
- damage: half of the images are damaged in one of ten ways, at a strength from barely to badly; which and how much
  must be read from the features by a linear map, so that features move in proportion to the damage.

Correlations between features are discouraged, so that their covariance is well-conditioned. Batch norm is folded into
the convolutions and weights are rounded to float16 before the accuracies are measured: on 2,000 glyphs of another seed,
on Fashion-MNIST's test images, and on the last 100 of each handwritten digit, which training never sees.
Arithmetic is bfloat16 where it is safe: on processors without it the training is several times slower. The seed fixes
all random numbers; weights differ in rounding between machines and numbers of threads, and so does their digest.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from kantor import atomic
from kantor.data.sources.glyphs import LETTERS
from kantor.errors import UserError
from kantor.metrics.features import Extractor
from kantor.metrics.small_network import GARMENTS, NAME, SIDE, WEIGHTS, Network, Unit, kantor_small
from scripts.features.damage import damaged
from scripts.features.images import LabelledImages, digits, garments, joined, rendered_glyphs
from scripts.features.learner import SHARES, Feed, Learner, generator, say, train
from scripts.features.variations import greyed, tinted

RECIPE = "1"
TEST_GLYPHS_SEED = 1


@torch.no_grad()
def folded(learner: Learner, reference: Tensor) -> Network:
    """The network as shipped: without batch norm, features scaled as `Network` says, rounded to float16."""
    trained, out = learner.network, Network().eval()
    for (name, here), there in zip(units(trained), (unit for _, unit in units(out)), strict=True):
        norm = here.norm
        assert isinstance(norm, nn.BatchNorm2d), name
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        there.conv.weight.copy_(here.conv.weight * gain[:, None, None, None])
        there.conv.bias.copy_(norm.bias - norm.running_mean * gain)
    for name in ("classes", "hue"):
        getattr(out, name).load_state_dict(getattr(trained, name).state_dict())
    for value in out.trunk.state_dict().values():
        value.copy_(value.half().float())
    pooled = torch.cat([out.pooled(part) for part in reference.split(500)])
    spread = (learner.whiten.running_var + learner.whiten.eps).sqrt()
    common = (pooled / spread).var(0).mean().sqrt()
    out.shift.copy_(pooled.mean(0))
    out.scale.copy_(1 / (spread * common))
    for head in (out.classes, out.hue):  # they were trained on (pooled - running mean) / spread
        head.bias += head.weight @ ((out.shift - learner.whiten.running_mean) / spread)
        head.weight *= common
    for value in out.state_dict().values():
        value.copy_(value.half().float())
    return out


def units(network: Network) -> list[tuple[str, Unit]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, Unit)]


@torch.no_grad()
def measured(learner: Learner, network: Network, folder: Path) -> dict[str, str]:
    """Accuracies on held-out images, in percent."""
    extractor = Extractor(NAME, "", network, (SIDE, SIDE))
    accuracies = {}

    def share(name: str, logits: Tensor, labels: Tensor) -> None:
        accuracies[name] = f"{100 * (logits.argmax(1) == labels).float().mean():.2f}"

    def logits(shown: LabelledImages) -> dict[str, Tensor]:
        images = shown.images.permute(0, 2, 3, 1).contiguous().numpy()
        return dict(extractor(images).logits)

    glyphs = rendered_glyphs(2000, TEST_GLYPHS_SEED, finer=False)
    predictions = logits(glyphs)
    share("glyphs: class of 56", predictions["classes"], glyphs.classes)
    share("glyphs: letter", predictions["letter"], glyphs.classes)
    share("glyphs: hue", predictions["hue"], glyphs.hue)
    inner = learner(glyphs.images.float())[1]
    share("glyphs: typeface (not shipped)", inner["typeface"], glyphs.typeface)
    share("glyphs: background (not shipped)", inner["background"], glyphs.background)
    clothes, written = garments(folder, "t10k"), digits(folder, held_out=True)
    predictions = logits(clothes)
    share("Fashion-MNIST test: class of 56", predictions["classes"], clothes.classes)
    share("Fashion-MNIST test: garment", predictions["garment"], clothes.classes - len(LETTERS))
    predictions = logits(written)
    share("digits held out: class of 56", predictions["classes"], written.classes)
    share("digits held out: digit", predictions["digit"], written.classes - len(LETTERS) - len(GARMENTS))
    mixed = joined(
        [greyed(glyphs, generator("test"), 0.0), *(tinted(one, generator("test")) for one in (clothes, written))]
    )
    mixed = mixed.at(torch.randperm(len(mixed), generator=generator("test"))[:4000])
    mixed, kind, _ = damaged(mixed, generator("test"))
    share("damage of 11 (not shipped)", learner(mixed.images)[1]["damage"], kind + 1)
    return accuracies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that `make data` filled")
    parser.add_argument("--glyphs", type=int, default=100_000, help="glyphs rendered to train on")
    parser.add_argument("--steps", type=int, default=2000, help=f"batches of {sum(SHARES.values())}")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the weights")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    feed = Feed(options.data, options.glyphs)
    counts = {"glyphs": len(feed.glyphs), "garments": len(feed.garments), "digits": len(feed.digits)}
    say(f"learning from {counts}")
    learner = train(feed, options.steps)
    network = folded(learner, feed.reference(3000))
    metadata = {f"accuracy, {name}": value for name, value in measured(learner, network, options.data).items()}
    metadata |= {f"images, {name}": str(count) for name, count in counts.items()}
    metadata |= {"recipe": RECIPE, "steps": str(options.steps)}
    atomic.make_folder(options.out.parent)
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    atomic.write_bytes(options.out, save(state, metadata))
    for name, value in sorted(metadata.items()):
        say(f"{name}: {value}")
    parameters = sum(value.numel() for value in state.values())
    say(f"{parameters:,} parameters, {options.out.stat().st_size:,} bytes")
    if options.out == WEIGHTS:
        kantor_small.cache_clear()
        say(f"digest {kantor_small().digest}")
    say(f"Results: {options.out}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
