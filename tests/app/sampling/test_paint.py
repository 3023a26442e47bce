"""Lines by one model, colours by another: networks with a condition, pairs of images, `kantor paint`, and what it refuses."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import kantor
from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import open_set
from kantor.app.evaluation.image_sets import GeneratedImages, choose_images
from kantor.app.images import join_pairs
from kantor.app.training.sample_grids import Sampler, first_images
from kantor.config.io import preset_text, resolve
from kantor.config.networks import DcganCritic, DcganGenerator, UnetGenerator, UpsamplingCritic
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed, to_float
from kantor.data.loading.image_set import ImageSet, PairedImages
from kantor.engine.passes import CriticInputs, GeneratorInputs, critic_pass, generator_pass
from kantor.errors import ConfigError, DataError, ModelError
from kantor.export.weights import Card, read_generator, write_generator
from kantor.nets import build_critic, build_generator
from kantor.objectives.objective import build_objective
from kantor.runs.checkpoint import from_bytes, to_bytes
from kantor.sample.generate import generate_images
from kantor.sample.latents import latents
from kantor.types import Batch, ImageSpec, traits_of
from support.commands import TINY, exit_of
from support.paired_runs import assert_goes_on_from_copies
from support.resume_child import FIELDS

pytest.importorskip("skimage", reason="the extra `edges` is not installed")
CPU = torch.device("cpu")
SPECS = [ImageSpec(8, 8, 3), ImageSpec(9, 16, 1), ImageSpec(27, 33, 4), ImageSpec(15, 64, 3), ImageSpec(8, 130, 1)]
LABELS = torch.tensor([2, 0, 1])
EDGES = {"data.condition": "edges"}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unet(spec: ImageSpec, condition: int = 1, classes: int = 0, seed: int = 0, **more: Any) -> nn.Module:
    config = UnetGenerator(**{"width": 4, "max_width": 8, "latent_dim": 5, **more})
    return build_generator(config, spec, classes, seed, condition)


# --- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "norm"), list(itertools.product(SPECS, ("batch", "pixel", "none"))), ids=str)
def test_unet(spec: ImageSpec, norm: str) -> None:
    """Of any size; it looks at latent, label and condition, all of it; images of a batch do not look at each other."""
    for channels, classes in ((1, 0), (3, 3)):
        network = unet(spec, channels, classes, norm=norm).eval()
        z, condition = numbers(3, 5), numbers(3, channels, spec.height, spec.width).clamp(-1, 1).requires_grad_()
        labels = LABELS if classes else None
        x = network(z, labels, condition)
        assert x.shape == (3, spec.channels, spec.height, spec.width)
        assert x.abs().max() <= 1
        (slope,) = torch.autograd.grad(x[0].square().sum(), condition)
        assert (slope[0].abs().sum(0) > 0).float().mean() > 0.95
        assert slope[1:].abs().max() == 0
        assert not torch.equal(network(numbers(3, 5, seed=1), labels, condition), x)
        if labels is not None:
            assert not torch.equal(network(z, (labels + 1) % 3, condition), x)


def test_unet_keeps_lines_where_they_are() -> None:
    """What is changed in the last corner, odd sizes and all, shows there most."""
    for spec in (ImageSpec(64, 64, 3), ImageSpec(33, 45, 3)):
        network = unet(spec, max_width=32).eval()
        condition = torch.ones(1, 1, spec.height, spec.width)
        other = condition.clone()
        other[:, :, -1, -1] = -1
        change = (network(numbers(1, 5), None, other) - network(numbers(1, 5), None, condition)).abs().sum(1)[0]
        near, far = change[-4:, -4:].mean(), change[: spec.height // 2, : spec.width // 2].mean()
        assert near > 5 * far


def test_unet_in_any_order_in_memory() -> None:
    network = unet(ImageSpec(16, 16, 3), max_width=16)
    z, condition = numbers(2, 5), numbers(2, 1, 16, 16)
    expected = network(z, None, condition)
    last = unet(ImageSpec(16, 16, 3), max_width=16).to(memory_format=torch.channels_last)
    found = last(z, None, condition.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def stock_scores(weights: dict[str, Tensor], both: Tensor) -> Tensor:
    """Scores of DCGAN's critic by stock operators."""
    x, i = both, 0
    while f"network.layers.{i}.weight" in weights:
        x = F.conv2d(x, weights[f"network.layers.{i}.weight"], weights[f"network.layers.{i}.bias"], 2, 1)
        x, i = F.leaky_relu(x, 0.2), i + 1
    return F.conv2d(x, weights["network.score.weight"], weights["network.score.bias"]).flatten()


@pytest.mark.parametrize("channels", [1, 3])
def test_penalty_of_the_pair_with_respect_to_the_image(channels: int) -> None:
    """The critic's loss and all its gradients, against stock operators in float64: the condition has no part in the norm."""
    config = resolve("painter-colours", overrides={"critic.norm": "none"})
    objective = build_objective(config.objective)
    critic = build_critic(DcganCritic(width=4, init="he"), ImageSpec(16, 16, 3), 0, 3, channels)
    assert traits_of(critic) == traits_of(critic.network)
    real, fake, alpha = numbers(4, 3, 16, 16), numbers(4, 3, 16, 16, seed=1), torch.rand(4, 1, 1, 1)
    condition, at = numbers(4, channels, 16, 16, seed=2), alpha * real + (1 - alpha) * fake
    due = dict(objective.penalties)
    inputs = CriticInputs(Batch(real, None, condition), fake, {"gradient": at})
    found = critic_pass(critic, objective, due, "float32", inputs)

    weights = {name: value.detach().double().requires_grad_() for name, value in critic.named_parameters()}
    x = at.double().requires_grad_()

    def score(image: Tensor) -> Tensor:
        return stock_scores(weights, torch.cat([image.double(), condition.double()], 1))

    (slope,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
    penalty = 10 * (slope.flatten(1).norm(dim=1) - 1).square()
    loss = (score(fake) - score(real)).mean() + penalty.mean()
    expected = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    torch.testing.assert_close(found.values["penalty/gradient"].double(), penalty.detach(), rtol=1e-4, atol=1e-5)
    for name, mine, theirs in zip(weights, found.gradients, expected, strict=True):
        wanted = torch.zeros_like(mine) if theirs is None else theirs.float()
        torch.testing.assert_close(mine, wanted, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("config", [DcganCritic(width=4, norm="layer"), UpsamplingCritic(width=4)])
def test_any_critic_sees_the_pair(config: Any) -> None:
    critic = build_critic(config, ImageSpec(16, 16, 3), 3, 0, 1)
    x, condition = numbers(3, 3, 16, 16), numbers(3, 1, 16, 16, seed=1)
    scores = critic(x, LABELS, condition)
    assert scores.shape == (3,)
    swapped = critic(x, LABELS, condition.roll(1, 0))
    assert bool((swapped != scores).all())
    plain = build_critic(config, ImageSpec(16, 16, 4), 3, 0)
    assert torch.equal(plain(torch.cat([x, condition], 1), LABELS), scores)
    with pytest.raises(ValueError, match="needs a condition"):
        critic(x, LABELS)


def test_generator_loss_has_the_distance_to_the_real_image() -> None:
    config = resolve("painter-colours", overrides={"critic.width": 4})
    spec, condition = ImageSpec(16, 16, 3), numbers(4, 1, 16, 16)
    generator, critic = unet(spec, latent_dim=5), build_critic(config.critic, spec, 0, 0, 1)
    batch, z = Batch(numbers(4, 3, 16, 16).tanh(), None, condition), numbers(4, 5)
    losses = {}
    for weight in (0.0, 7.0):
        objective = build_objective(config.objective.model_copy(update={"l1": weight}))
        outcome = generator_pass(generator, critic, objective, "float32", GeneratorInputs(z, batch))
        losses[weight] = outcome.values["generator_loss"]
    distance = (generator(z, None, condition) - batch.images).abs().mean(dim=(1, 2, 3)).detach()
    torch.testing.assert_close(losses[7.0] - losses[0.0], 7 * distance, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda spec: build_generator(UnetGenerator(), spec), r"generator.kind = unet.*data\.condition=edges"),
        (lambda spec: build_generator(DcganGenerator(), spec, condition=1), r"kind = dcgan.*generator\.kind=unet"),
    ],
)
def test_generators_that_do_not_go_with_the_data(build: Callable[[ImageSpec], nn.Module], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(ImageSpec(16, 16, 3))


# --- pairs ----------------------------------------------------------------------------------------------------------


def shapes(folder: Path, count: int) -> Path:
    """Discs on a plain ground, at places and in colours of their own, somewhat larger than they will be."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    for i in range(count):
        (y, x), r = rng.uniform(10, 30, 2), rng.uniform(5, 9)
        disc = np.hypot(*(np.mgrid[:40, :40] - np.array([y, x])[:, None, None])) < r
        ground, ink = rng.integers(180, 256, 3), rng.integers(0, 100, 3)
        Image.fromarray(np.where(disc[..., None], ink, ground).astype(np.uint8)).save(folder / f"{i:03}.png")
    return folder


def opened(source: Path, cache: Path, **fields: Any) -> tuple[ImageSet, Config]:
    named = {name.replace("__", "."): value for name, value in fields.items()}
    config = resolve(overrides={"data.source": str(source), "data.size": "16", **EDGES, **named})
    store, config, _ = open_set(config, 16, DatasetCache(cache))
    assert store.condition_channels == 1
    return store, config


def outlines_of(path: Path, side: int = 16) -> np.ndarray:
    from skimage.feature import canny

    grey = Image.open(path).convert("L").resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    found = canny(np.asarray(grey, np.float64) / 255, sigma=1.0, low_threshold=0.1, high_threshold=0.2)
    return np.where(found, 0, 255).astype(np.uint8)[:, :, None]


@pytest.mark.parametrize("holdout", [0.0, 0.4])
def test_pairs_belong_together(tmp_path: Path, holdout: float) -> None:
    """Each condition is the outline of the very image beside it; the same ones are held out of both."""
    folder = shapes(tmp_path / "discs", 30)
    store, config = opened(folder, tmp_path / "cache", data__holdout=holdout)
    assert store.condition_channels == 1
    assert store.spec == ImageSpec(16, 16, 3)
    assert config.data.channels == "rgb"
    assert (store.count == 30) == (holdout == 0)
    rows = np.arange(store.count)
    by_image = {}
    for path in folder.iterdir():
        small = Image.open(path).resize((16, 16), Image.Resampling.LANCZOS, reducing_gap=3.0)
        by_image[np.asarray(small).tobytes()] = outlines_of(path)
    for image, condition in zip(store.images(rows), store.conditions(rows), strict=True):
        np.testing.assert_array_equal(by_image[image.tobytes()], condition)
    assert len({condition.tobytes() for condition in store.conditions(rows)}) > store.count // 2


@pytest.mark.parametrize("mirror", [False, True])
def test_feed(tmp_path: Path, mirror: bool) -> None:
    """Images and conditions of a batch are of the same rows, and mirrored together."""
    store, _ = opened(shapes(tmp_path / "discs", 12), tmp_path / "cache")
    rows = np.arange(12)
    images, conditions = (to_float(torch.from_numpy(part(rows))) for part in (store.images, store.conditions))
    feed = Feed(store, 3, CPU, mirror=mirror)
    turned = []
    for _ in range(6):
        batch = feed.take(4)
        assert batch.condition is not None
        assert batch.condition.shape == (4, 1, 16, 16)
        for image, condition in zip(batch.images, batch.condition, strict=True):
            ways = [(images, conditions), (images.flip(3), conditions.flip(3))]
            way = next(i for i, (given, _) in enumerate(ways) if bool((given == image).flatten(1).all(1).any()))
            row = int((ways[way][0] == image).flatten(1).all(1).nonzero()[0])
            assert torch.equal(ways[way][1][row], condition)
            turned.append(way)
    assert set(turned) == ({0, 1} if mirror else {0})
    again = Feed(store, 3, CPU, mirror=mirror)
    again.position = 20
    assert torch.equal(again.take(4).condition, batch.condition)  # type: ignore[arg-type]


def test_feed_brings_conditions_down(tmp_path: Path) -> None:
    store, _ = opened(shapes(tmp_path / "discs", 8), tmp_path / "cache", data__pack_size="32")
    assert store.conditions(np.arange(1)).shape == (1, 32, 32, 1)
    feed = Feed(store, 0, CPU, spec=ImageSpec(16, 16, 3))
    condition = feed.take(8).condition
    assert condition is not None
    rows = Feed(store, 0, CPU)._rows(8)
    whole = to_float(torch.from_numpy(store.conditions(rows)))
    torch.testing.assert_close(condition, F.avg_pool2d(whole, 2))


def test_sets_that_do_not_belong_together(tmp_path: Path) -> None:
    one, _ = opened(shapes(tmp_path / "discs", 8), tmp_path / "cache")
    other, _ = opened(shapes(tmp_path / "more", 9), tmp_path / "cache")
    with pytest.raises(DataError, match="9 outlines do not match the 8 images"):
        PairedImages(one, other)
    (tmp_path / "more" / "008.png").unlink()
    (tmp_path / "more" / "003.png").write_bytes((tmp_path / "more" / "002.png").read_bytes())
    third, _ = opened(tmp_path / "more", tmp_path / "cache")
    with pytest.raises(DataError, match="do not match the 8 images"):
        PairedImages(one, third)
    assert one.fingerprint != third.fingerprint


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data__edges": "canny"}, r"data\.edges = canny.*leave one of the two out"),
        ({"data__augment__rotation": 5.0}, r"data\.augment.*--mirror flips both"),
    ],
)
def test_data_refused(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        opened(shapes(tmp_path / "discs", 8), tmp_path / "cache", **fields)
    assert not (tmp_path / "cache").exists()


def test_a_packed_set_has_no_outlines(tmp_path: Path) -> None:
    folder = shapes(tmp_path / "discs", 8)
    assert exit_of("pack", folder, "--out", tmp_path / "set", "--size", 16) == 0
    with pytest.raises(ConfigError, match="name the images themselves"):
        opened(tmp_path / "set", tmp_path / "cache")


# --- grids, scores, model files -------------------------------------------------------------------------------------


def test_sheets_show_condition_and_image(tmp_path: Path) -> None:
    store, config = opened(shapes(tmp_path / "discs", 12), tmp_path / "cache", generator__kind="unet")
    sampler = Sampler(config, store.spec, 0, store)
    network = build_generator(config.generator, store.spec, 0, 0, 1).eval()
    fixed, other = sampler(network, 100)
    assert fixed.shape == other.shape == (sampler.count, 16, 32, 3) == (32, 16, 32, 3)
    rows = np.resize(np.linspace(0, 11, 12).astype(np.int64), 32)
    np.testing.assert_array_equal(fixed[:, :, :16], np.repeat(store.conditions(rows), 3, axis=3))
    z = latents(range(32), config.generator.latent_dim)
    np.testing.assert_array_equal(fixed[:, :, 16:], generate_images(network, z, None, store.conditions(rows)))
    np.testing.assert_array_equal(sampler(network, 100)[1], other)
    assert not np.array_equal(sampler(network, 200)[1], other)
    reals = first_images(store, 6, store.spec)
    assert reals.shape == (6, 16, 32, 3)
    np.testing.assert_array_equal(reals[-1, :, 16:], store.images(np.array([11]))[0])
    assert join_pairs(fixed[:2, :, :16, :1], np.zeros((2, 16, 16, 4), np.uint8))[0, 0, 0, 3] == 255


def test_drawn_images_have_the_conditions_of_real_ones(tmp_path: Path) -> None:
    store, config = opened(shapes(tmp_path / "discs", 12), tmp_path / "cache", generator__kind="unet")
    network = build_generator(config.generator, store.spec, 0, 0, 1).eval()
    reals = choose_images(store, 12, store.spec)
    drawn = GeneratedImages(network, config.generator, 30, 5, conditions=reals)
    z = latents([5 + 3, 5 + 14], config.generator.latent_dim)
    expected = generate_images(network, z, None, store.conditions(np.array([3, 2])))
    np.testing.assert_array_equal(drawn.images(np.array([3, 14])), expected)


def test_model_file(tmp_path: Path) -> None:
    """Remembers the condition; a file of a model without one says nothing of it, as before there was any."""
    spec = ImageSpec(16, 16, 3)
    config = UnetGenerator(width=4, max_width=8, latent_dim=5)
    network, path = unet(spec).eval(), tmp_path / "generator.safetensors"
    write_generator(path, network, Card(spec, config, "wgan-gp", (), 10, 1))
    again, card = read_generator(path)
    assert card.condition == 1
    z, condition = numbers(2, 5), numbers(2, 1, 16, 16)
    assert torch.equal(again(z, None, condition), network(z, None, condition))
    tensors, text = from_bytes(path, path.read_bytes()), header(path)
    assert text["condition"] == 1
    for changed in (0, 3, 7):
        path.write_bytes(to_bytes(tensors, {"kantor": json.dumps(text | {"condition": changed})}))
        with pytest.raises(ModelError):
            read_generator(path)
    plain = DcganGenerator(width=4, max_width=8, latent_dim=5)
    write_generator(path, build_generator(plain, spec), Card(spec, plain, "wgan-gp", (), 10))
    assert "condition" not in header(path)
    assert read_generator(path)[1].condition == 0


def header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    whole = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(json.loads(whole["__metadata__"]["kantor"]))


# --- runs -----------------------------------------------------------------------------------------------------------

COLOURS: dict[str, Any] = FIELDS | EDGES | {"data.mirror": True, "train.precision": "float32"}


def test_stopped_and_resumed(tmp_path: Path) -> None:
    assert_goes_on_from_copies(tmp_path, shapes(tmp_path / "discs", 30), COLOURS | {"data.holdout": 0.2})


def test_presets_of_the_pipeline() -> None:
    lines, colours = resolve("painter-lines"), resolve("painter-colours")
    assert (lines.cycle.critic_steps, lines.cycle.generator_steps) == (5, 3)
    assert lines.data.edges == "canny"
    assert colours.data.condition == "edges"
    assert colours.objective.l1 > 0
    assert lines.data.size == colours.data.size
    for name in ("painter-lines", "painter-colours"):
        assert preset_text(name).startswith("# ")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs "lines", "colours", "plain" (colour images of latents) and "large" (lines of another size)."""
    home = tmp_path_factory.mktemp("paint")
    words = [*TINY, "--channels", "auto", "--set", "data.glyphs.count=60", "--images", 40, "--runs", home / "runs"]
    assert exit_of("train", *words, "--preset", "painter-lines", "--name", "lines") == 0
    scores = ["--metrics", "fd", "--set", "score.features=random", "--set", "score.count=100"]
    assert exit_of("train", *words, *scores, "--preset", "painter-colours", "--name", "colours") == 0
    assert exit_of("train", *words, "--name", "plain") == 0
    assert exit_of("train", *words, "--preset", "painter-lines", "--size", 20, "--name", "large") == 0
    return home


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(home / "runs")
    return tmp_path


def image(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_paint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines are those that `generate` draws; a painting depends on its seed alone; the grid has both side by side."""
    assert exit_of("paint", "lines", "colours", "--seeds", "0-3,17", "--out", "out", "--gutter", 0) == 0
    assert "wrote 5 paintings to out" in capsys.readouterr().out
    seeds = (0, 1, 2, 3, 17)
    names = {f"seed-{seed:08}{end}.png" for seed in seeds for end in ("", "-lines")}
    assert {path.name for path in Path("out").iterdir()} == names | {"sheet.png"}
    assert exit_of("generate", "lines", "--seeds", "0-3,17", "--out", "drawn") == 0
    for seed in seeds:
        np.testing.assert_array_equal(
            image(Path(f"out/seed-{seed:08}-lines.png")), image(Path(f"drawn/seed-{seed:08}.png"))
        )
    assert image(Path("out/seed-00000017.png")).shape == (16, 16, 3)
    assert len({image(Path(f"out/seed-{seed:08}.png")).tobytes() for seed in seeds}) == 5
    assert exit_of("paint", "lines", "colours", "--seeds", "17", "--out", "one") == 0
    assert Path("one/seed-00000017.png").read_bytes() == Path("out/seed-00000017.png").read_bytes()
    assert exit_of("paint", "lines", "colours", "--seeds", "17", "--out", "less", "--truncation", 0.5) == 0
    assert Path("less/seed-00000017.png").read_bytes() != Path("out/seed-00000017.png").read_bytes()
    assert exit_of("paint", "lines", "colours", "--out", "usual", "--grid", "8x2") == 0
    assert len(list(Path("usual").iterdir())) == 33
    sheet = image(Path("usual/sheet.png"))
    assert sheet.shape[1] > 3 * sheet.shape[0]


def test_scores_while_training(here: Path) -> None:
    """What is made of real outlines is measured against real images, at the end at the latest."""
    run = next((here / "runs").glob("*-colours"))
    header, *rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    assert float(rows[-1][header.index("fd@random")]) > 0
    sheets = [run / "samples" / "reals.png", *(run / "samples" / "fixed").iterdir()]
    assert all(image(sheet).shape[1] > 100 for sheet in sheets)
    assert "unet" in (run / "report.html").read_text()


def test_checkpoints_paint_too(here: Path) -> None:
    """The run's newest checkpoint has the weights of its model file, which was written with it."""
    checkpoints = [sorted((here / "runs").glob(f"*-{name}/checkpoints/*"))[-1] for name in ("lines", "colours")]
    assert exit_of("paint", *checkpoints, "--seeds", 3, "--out", "a") == 0
    assert exit_of("paint", "lines", "colours", "--seeds", 3, "--out", "b") == 0
    assert Path("a/seed-00000003.png").read_bytes() == Path("b/seed-00000003.png").read_bytes()


def by_hand(path: Path, side: int = 160, paper: int = 250, ink: int = 20) -> None:
    """A square drawn with a thick pen, with a border of paper."""
    image = np.full((side, side), paper, np.uint8)
    at, far, pen = side // 4, 3 * side // 4, side // 16
    for lines in (np.s_[at : at + pen, at:far], np.s_[far : far + pen, at:far], np.s_[at:far, at : at + pen]):
        image[lines] = ink
    Image.fromarray(image).save(path)


def test_own_lines(here: Path) -> None:
    """Each drawing in the colours of each seed; paper and ink of a scan become white and black."""
    Path("pen").mkdir()
    by_hand(Path("pen/square.png"))
    by_hand(Path("pen/wide.jpg"), 200)
    Path("pen/notes.txt").write_text("about them")
    assert exit_of("paint", "pen", "colours", "--seeds", "0,5", "--out", "out", "--grid", "2x2", "--gutter", 0) == 0
    names = {f"{name}-seed-{seed:08}.png" for name in ("square", "wide") for seed in (0, 5)}
    assert {path.name for path in Path("out").iterdir()} == names | {"sheet.png"}
    assert (
        image(Path("out/square-seed-00000000.png")).tobytes() != image(Path("out/square-seed-00000005.png")).tobytes()
    )
    by_hand(Path("scan.png"), paper=200, ink=100)
    assert exit_of("paint", "scan.png", "colours", "--out", "scan", "--gutter", 0) == 0
    assert {path.name for path in Path("scan").iterdir()} == {"scan-seed-00000000.png", "sheet.png"}
    clean, scanned = (image(Path(folder) / "sheet.png")[:64, :64].astype(int) for folder in ("out", "scan"))
    assert (scanned.min(), scanned.max()) == (0, 255)
    assert np.abs(scanned - clean).max() <= 16
    exact = np.where(np.eye(16) > 0, 0, 255).astype(np.uint8)  # black and white of the right size stay as they are
    Image.fromarray(exact).save("exact.png")
    assert exit_of("paint", "exact.png", "colours", "--out", "exact", "--gutter", 0) == 0
    np.testing.assert_array_equal(image(Path("exact/sheet.png"))[:64:4, :64:4, 0], exact)


REFUSED = [
    (("generate", "colours"), 4, "colours outlines and cannot generate from seeds alone; use `kantor paint"),
    (("walk", "colours", "--seeds", "1,2", "--out", "w.gif"), 4, "use `kantor paint"),
    (("evaluate", "colours"), 4, "use `kantor paint"),
    (("sonify", "colours", "--out", "o"), 4, "use `kantor paint"),
    (("paint", "plain", "colours", "--out", "o"), 4, "plain: makes 16x16 RGB images, but lines are grey; name one"),
    (("paint", "lines", "plain", "--out", "o"), 4, "plain: this model does not colour outlines; name one"),
    (("paint", "colours", "lines", "--out", "o"), 4, "are swapped; write kantor paint lines colours"),
    (
        ("paint", "colours", "colours", "--out", "o"),
        4,
        "colours: this model makes images of other images, and nothing to paint; name",
    ),
    (
        ("paint", "large", "colours", "--out", "o"),
        2,
        "large: makes 20, colours colours 16; train one of them with --size",
    ),
    (("paint", "nothing", "colours", "--out", "o"), 4, "nothing: there is no image, folder or run of this name"),
    (("paint", "dork.png", "colours", "--out", "o"), 4, 'did you mean "dark.png"?'),
    (("paint", "albums", "colours", "--out", "o"), 4, 'did you mean "album"?'),
    (("paint", "linse", "colours", "--out", "o"), 4, 'did you mean "lines"?'),
    (
        ("paint", "nested", "colours", "--out", "o"),
        3,
        "only in its sub-folders, which are not read; name one of them: nested",
    ),
    (("paint", "empty", "colours", "--out", "o"), 3, "empty: is not a run directory, and there are no images in it"),
    (("paint", "lines", "nothing", "--out", "o"), 4, "nothing"),
    (("paint", "lines", "colours", "--out", "."), 2, "is the current folder"),
    (("paint", "lines", "colours", "--seeds", "0-10000", "--out", "o"), 2, "10,001 paintings in all"),
    (("paint", "lines", "colours", "--grid", "2x2", "--out", "o"), 2, "has room for 4 of 16 paintings"),
    (("paint", "lines", "colours", "--out", "album"), 2, "contains mine.png"),
    (("paint", "dark.png", "colours", "--out", "o"), 3, "dark.png: is mostly dark"),
    (("paint", "blank.png", "colours", "--out", "o"), 3, "blank.png: shows no lines"),
    (("paint", "broken.png", "colours", "--out", "o"), 3, "broken.png: cannot be used"),
    (("paint", "album", "lines", "--out", "o"), 4, "lines: this model does not colour outlines"),
    (("paint", "twice", "colours", "--out", "o"), 3, "has the same name as another drawing"),
]


@pytest.mark.parametrize(("words", "code", "says"), REFUSED, ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, tuple) else None)  # fmt: skip
def test_refused(words: tuple[str, ...], code: int, says: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("album", "twice"):
        Path(folder).mkdir()
    by_hand(Path("album/mine.png"))
    by_hand(Path("twice/a.png"))
    by_hand(Path("twice/a.jpg"))
    Path("nested/cats").mkdir(parents=True)
    Path("empty").mkdir()
    by_hand(Path("nested/cats/a.png"))
    by_hand(Path("dark.png"), paper=10, ink=250)
    by_hand(Path("blank.png"), paper=250, ink=249)
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    before = sorted(here.iterdir())
    assert exit_of(*words) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("error: ")
    assert sorted(here.iterdir()) == before


def test_existing_files_stay(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("paint", "lines", "colours", "--seeds", 1, "--out", "o") == 0
    (here / "o" / "seed-00000001.png").write_bytes(b"mine")
    (here / "o" / "sheet.png").unlink()
    assert exit_of("paint", "lines", "colours", "--seeds", 1, "--out", "o") == 2
    assert "seed-00000001.png: already exists" in capsys.readouterr().err
    assert (here / "o" / "seed-00000001.png").read_bytes() == b"mine"
    assert exit_of("paint", "lines", "colours", "--seeds", 1, "--out", "o", "--overwrite") == 0
    assert image(here / "o" / "seed-00000001.png").shape == (16, 16, 3)


def test_from_python(here: Path) -> None:
    with pytest.raises(ModelError, match="colours outlines"):
        kantor.load("colours")


def test_training_refuses(here: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [*TINY, "--channels", "auto", "--set", "data.glyphs.count=60", "--images", 40, "--runs", "new"]
    for more, says in (
        (["--set", "data.condition=edges"], "use --set generator.kind=unet"),
        (["--set", "generator.kind=unet"], "add --set data.condition=edges"),
    ):
        assert exit_of("train", *common, *more) == 2
        assert says in capsys.readouterr().err
    assert not Path("new").exists()
