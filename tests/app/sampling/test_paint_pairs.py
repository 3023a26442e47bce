"""A run on pairs of the user's own: its sample grids, scores, model file and page; `kantor paint` with it; resuming it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.recover import open_again
from kantor.config.io import resolve
from kantor.data.loading.store import Store
from kantor.errors import DataError, ModelError
from kantor.export.weights import read_generator, write_generator
from kantor.sample.generate import generate_images
from support.commands import TINY, exit_of
from support.paired_runs import assert_goes_on_from_copies
from support.resume_child import FIELDS, train_until

SIDE, COUNT = 16, 30
UNET = ("--preset", "painter-colours", "--channels", "auto", "--images", 40)
SCORED = ("--metrics", "fd", "--set", "score.features=random", "--set", "score.count=100")


def masks_and_images(root: Path, high: int = 1) -> Path:
    """Masks of 0 and 1, and the images that they are masks of: a bright square on a dark ground."""
    rng = np.random.default_rng(5)
    for part in ("masks", "images"):
        (root / part).mkdir(parents=True)
    for number in range(COUNT):
        mask, (y, x) = np.zeros((24, 24), np.uint8), rng.integers(2, 12, 2)
        mask[y : y + 8, x : x + 8] = high
        image = np.where(mask[..., None] > 0, rng.integers(150, 255, 3), rng.integers(0, 90, 3))
        Image.fromarray(mask).save(root / f"masks/{number:02}.png")
        Image.fromarray(image.astype(np.uint8)).save(root / f"images/{number:02}.png")
    return root


def image(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs "masks" (masks to images), "back" (images to masks) and "drawn" (a GAN of masks)."""
    home = tmp_path_factory.mktemp("pairs")
    data = masks_and_images(home / "data")
    words = [*TINY, *UNET, "--runs", home / "runs"]
    for part, name in (("masks", "masks"), ("images", "back")):
        condition = ["--set", f"data.condition={part}"]
        assert exit_of("train", data, *words, *condition, *SCORED, "--name", name) == 0
    plain = [*TINY, "--channels", "auto", "--images", 40, "--metrics", "none", "--runs", home / "runs"]
    assert exit_of("train", f"{data}:masks", *plain, "--name", "drawn") == 0
    return home


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(home / "runs")
    (tmp_path / "data").symlink_to(home / "data")
    return tmp_path


def run_of(here: Path, name: str) -> Path:
    return next((here / "runs").glob(f"*-{name}"))


def test_a_run_shows_and_scores_its_pairs(here: Path) -> None:
    for name, channels in (("masks", 1), ("back", 3)):
        run = run_of(here, name)
        header, *rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
        assert float(rows[-1][header.index("fd@random")]) >= 0
        reals = image(run / "samples" / "reals.png")
        assert reals.ndim == 3
        page = (run / "report.html").read_text()
        assert "kantor paint IMAGES" in page
        assert "unet" in page
        network, card = read_generator(run / "generator.safetensors")
        assert card.condition == channels
        parameters = f"{sum(p.numel() for p in network.parameters()):,} parameters"
        assert parameters in page


@pytest.mark.parametrize(("name", "part"), [("masks", "masks"), ("back", "images")])
def test_given_images_are_conditions_as_in_training(here: Path, name: str, part: str) -> None:
    """Sized and with the same values: what the packed dataset holds is what the generator gets."""
    assert exit_of("pack", f"data:{part}", "--out", "packed", "--size", SIDE) == 0
    store = Store.open("packed")
    conditions = store.images(np.arange(COUNT))
    assert exit_of("paint", f"data/{part}", name, "--seeds", "0,5", "--out", "out") == 0
    network, card = read_generator(run_of(here, name) / "generator.safetensors")
    for seed in (0, 5):
        z = card.latents([seed] * COUNT)
        expected = generate_images(network, z, None, conditions)
        for row in (0, 11, 29):
            found = image(Path(f"out/{row:02}-seed-{seed:08}.png"))
            np.testing.assert_array_equal(found, np.squeeze(expected[row]))
    assert exit_of("paint", f"data/{part}/07.png", name, "--out", "one") == 0
    assert Path("one/07-seed-00000000.png").read_bytes() == Path("out/07-seed-00000000.png").read_bytes()
    checkpoint = sorted(run_of(here, name).glob("checkpoints/*"))[-1]
    assert exit_of("paint", f"data/{part}/07.png", checkpoint, "--out", "again") == 0
    assert Path("again/07-seed-00000000.png").read_bytes() == Path("one/07-seed-00000000.png").read_bytes()


def test_another_model_makes_the_conditions(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("paint", "drawn", "masks", "--seeds", "0-2", "--out", "out") == 0
    assert image(Path("out/seed-00000001-lines.png")).shape == (SIDE, SIDE)
    assert exit_of("paint", "drawn", "back", "--out", "o") == 4
    assert "drawn: makes 16x16 grey images, but back starts from rgb ones" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("generate", "masks"), "cannot generate from seeds alone; use `kantor paint IMAGES MODEL`"),
        (("evaluate", "masks"), "use `kantor paint IMAGES MODEL`"),
        (("paint", "data/masks", "drawn", "--out", "o"), "drawn: this model"),
    ],
)
def test_refused(here: Path, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(*words) == 4
    assert says in capsys.readouterr().err


def test_a_model_file_with_odd_settings_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, card = read_generator(run_of(here, "masks") / "generator.safetensors")
    assert card.condition_settings["ranges"] == {"uint8": [0.0, 1.0]}
    for odd in ({"ranges": 3}, {"ranges": {}, "fit": "wide"}, {"fit": "cover"}):
        write_generator(Path("odd.safetensors"), network, card.__class__(**{**vars(card), "condition_settings": odd}))
        assert exit_of("paint", "data/masks", "odd.safetensors", "--out", "o") == 4
        assert "conditions that this version does not know" in capsys.readouterr().err
    with pytest.raises(ModelError):
        damaged = Path("odd.safetensors").read_bytes().replace(b"cover", b"coved")
        Path("odd.safetensors").write_bytes(damaged)
        read_generator(Path("odd.safetensors"))


def test_stopped_and_resumed(tmp_path: Path) -> None:
    source = masks_and_images(tmp_path / "data")
    (source / "masks/03.png").unlink()
    more: dict[str, Any] = {"data.condition": "masks", "data.mirror": True, "train.precision": "float32"}
    assert_goes_on_from_copies(tmp_path, source, FIELDS | more | {"data.holdout": 0.2, "data.limit": 25})


def test_a_run_whose_conditions_are_gone_names_them(here: Path, tmp_path: Path) -> None:
    config = resolve(overrides={"data.source": str(here / "data/images"), "data.condition": str(tmp_path / "away")})
    with pytest.raises(DataError, match="away: the conditions of the run are no longer there; restore them"):
        open_again(config, "0", DatasetCache(tmp_path / "cache"))


def test_images_that_have_changed_are_not_resumed(tmp_path: Path) -> None:
    """Nor conditions."""
    cache, source = tmp_path / "cache", masks_and_images(tmp_path / "data")
    fields = FIELDS | {"data.condition": "masks", "train.precision": "float32", "data.source": str(source)}
    run, _ = train_until(2, "painter-colours", "float32", tmp_path / "b", cache, overrides=fields)
    shutil.copy(source / "masks/05.png", source / "masks/04.png")
    with pytest.raises(DataError, match="have changed since the run was started"):
        train_until(None, "painter-colours", "float32", tmp_path / "b", cache, run)
