"""`kantor upscale`: pictures of any kind, images of a run, what is measured, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import kantor
from kantor.app.sampling import upscaling_scores
from kantor.app.sampling.upscaling_scores import MODEL, RIVAL, compare, compared, enlarged_by, reduced
from kantor.app.training.build import with_feature_distance
from kantor.config.io import resolve
from kantor.config.networks import UpscaleGenerator
from kantor.engine.passes import GeneratorInputs, generator_pass
from kantor.errors import ConfigError, ModelError
from kantor.export.weights import Card, write_generator
from kantor.metrics.layer_distance import layer_distance
from kantor.metrics.small_network import small_network
from kantor.nets import build_critic, build_generator
from kantor.objectives.objective import build_objective
from kantor.types import Batch, Images, ImageSpec
from support.commands import TINY, exit_of
from support.engine_fakes import CPU
from support.models import write_model


def write_upscaler(folder: Path, channels: int = 3, times: int = 2) -> Path:
    """An untrained one, which enlarges bicubically."""
    spec, config = ImageSpec(16, 16, channels), UpscaleGenerator(width=4, blocks=1, times=times)
    network = build_generator(config, spec, condition=channels)
    path = folder / "generator.safetensors"
    folder.mkdir(parents=True)
    write_generator(path, network, Card(spec, config, "relativistic", (), 0, channels, {"smaller": times}))
    return path


def picture(*shape: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path: Path, image: Images, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(path, **more)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_upscaler(tmp_path / "model")


def test_pictures_of_a_folder(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    save(folder / "a.png", picture(10, 7, 3))
    save(folder / "sub" / "a.png", picture(5, 5, 4))
    save(folder / "b.png", picture(6, 6, 1))
    save(folder / "b.bmp", picture(1, 1, 3))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "notes.txt").write_text("no picture")
    assert exit_of("upscale", model, folder, "--out", out) == 0
    text = capsys.readouterr().out
    assert "wrote 4 pictures to" in text and f"left out: {folder / 'broken.png'} cannot be used" in text
    found = {path.relative_to(out).as_posix(): Image.open(path) for path in out.rglob("*.png")}
    assert {name: (image.size, image.mode) for name, image in found.items()} == {
        "a.png": ((14, 20), "RGB"),
        "sub/a.png": ((10, 10), "RGBA"),
        "b.png": ((2, 2), "RGB"),
        "b-2.png": ((12, 12), "L"),
    }
    assert exit_of("upscale", model, folder, "--out", out) == 2
    assert "already exists; choose another --out, or add --overwrite" in capsys.readouterr().err
    assert exit_of("upscale", model, folder, "--out", out, "--overwrite") == 0
    assert exit_of("upscale", model, folder, "--out", folder / "larger") == 2
    assert exit_of("upscale", model, folder / "a.png", folder / "b.png") == 0
    assert {p.name for p in (model.parent / "upscaled" / "00000").iterdir()} == {"a.png", "b.png"}


def test_pictures_are_never_replaced(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by their own enlargement, nor by that of another picture of the same name."""
    folder = tmp_path / "in"
    save(folder / "a.jpg", picture(8, 8, 3))
    save(folder / "a.png", picture(6, 6, 3))
    before = (folder / "a.png").read_bytes()
    for named in (["a.png"], ["a.jpg", "a.png"]):
        files = [folder / name for name in named]
        assert exit_of("upscale", model, *files, "--out", folder, "--overwrite") == 2
        assert f"would replace {folder / 'a.png'}, which is read; choose another" in capsys.readouterr().err
    assert (folder / "a.png").read_bytes() == before


def test_times_4_applies_a_model_of_2_twice(model: Path, tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(8, 5, 3))
    assert exit_of("upscale", model, tmp_path / "a.png", "--times", 4, "--out", tmp_path / "out") == 0
    assert Image.open(tmp_path / "out" / "a.png").size == (20, 32)


def test_pictures_are_turned_upright(model: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", picture(8, 20, 3), exif=exif)
    assert exit_of("upscale", model, tmp_path / "a.jpg", "--out", tmp_path / "out") == 0
    assert Image.open(tmp_path / "out" / "a.png").size == (16, 40)


def test_images_of_a_run(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, out = write_model(tmp_path / "other"), tmp_path / "out"
    assert exit_of("upscale", model, other, "--seeds", "3,5", "--out", out) == 0
    assert sorted(p.name for p in out.iterdir()) == ["seed-00000003.png", "seed-00000005.png"]
    generated = kantor.load(other).generate([3])
    larger = kantor.load(model).upscale(generated)
    assert np.array_equal(np.asarray(Image.open(out / "seed-00000003.png")), larger[0])
    assert exit_of("upscale", model, other, "--count", 2, "--seeds", "3", "--out", out) == 2
    assert exit_of("upscale", model, other, tmp_path, "--out", out) == 2
    assert "enlarge one run at a time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{other}", "{picture}"], 4, "does not enlarge pictures; name a model that was trained with --preset upscale"),
        (["{model}", "{picture}", "--times", "3"], 2, "--times 3: is not a factor that models learn; use 2 or 4"),
        (["{four}", "{picture}", "--times", "2"], 2, "--times 2: this model enlarges 4 times; leave it out"),
        (["{model}", "{text}"], 3, "cannot be used: "),
        (
            ["{model}", "{long}"],
            3,
            "cannot be used: 1x500 is more than 100 times as long as wide; repair or replace it",
        ),
        (["{model}", "{empty}"], 3, "there are no pictures in this folder"),
        (["{model}", "{gone}"], 3, "does not exist"),
        (["{model}"], 2, "there is nothing to enlarge; name pictures"),
        (["{model}", "{picture}", "--seeds", "1"], 2, "--seeds: chooses images of a run"),
        (["{model}", "--measure"], 2, "a model without its run has no held-out images"),
        (["{model}", "{dot}", "--measure"], 3, "is too small to be reduced 2 times (1x1)"),
        (["{picture}", "{picture}"], 4, "is an image, not a model"),
    ],
)
def test_what_is_refused(
    words: list[str], code: int, message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {name: tmp_path / f"{name}.png" for name in ("picture", "dot", "long", "gone")}
    save(places["picture"], picture(8, 8, 3))
    save(places["dot"], picture(1, 1, 3))
    save(places["long"], picture(1, 500, 3))
    places |= {"text": tmp_path / "text.txt", "empty": tmp_path / "empty", "model": model}
    places["text"].write_text("hello")
    places["empty"].mkdir()
    places |= {"other": write_model(tmp_path / "other"), "four": write_upscaler(tmp_path / "four", times=4)}
    named = [word.format_map(places) for word in words]
    assert exit_of("upscale", *named, "--out", tmp_path / "out") == code
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_other_commands_name_the_right_one(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("generate", model) == 4
    assert "use `kantor upscale MODEL PICTURES --out DIR`" in capsys.readouterr().err
    save(tmp_path / "lines" / "a.png", picture(16, 16, 1))
    assert exit_of("paint", tmp_path / "lines", model, "--out", tmp_path / "out") == 4
    assert f"write kantor upscale {model} PICTURES" in capsys.readouterr().err


def test_in_python(model: Path, tmp_path: Path) -> None:
    loaded = kantor.load(model)
    assert loaded.upscale(picture(2, 6, 5, 3)).shape == (2, 12, 10, 3)
    several = loaded.upscale([picture(4, 4, 1), picture(3, 9, 4)], times=4)
    assert [image.shape for image in several] == [(16, 16, 1), (12, 36, 4)]
    assert loaded.upscale(np.zeros((0, 4, 4, 3), np.uint8)).shape == (0, 8, 8, 3)
    with pytest.raises(ConfigError, match=r"float64 \[4, 4, 3\]; give uint8"):
        loaded.upscale([np.zeros((4, 4, 3))])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="images: are 5"):
        loaded.upscale(5)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="enlarges pictures and cannot generate"):
        loaded.generate(3)
    with pytest.raises(ModelError, match="enlarges pictures and cannot generate"):
        loaded.walk([3, 4])
    with pytest.raises(ModelError, match="does not enlarge"):
        kantor.load(write_model(tmp_path / "other")).upscale(picture(1, 4, 4, 3))


# --- measuring ------------------------------------------------------------------------------------------------------


def test_an_untrained_model_measures_as_bicubic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, folder, out = write_upscaler(tmp_path / "model", 4), tmp_path / "in", tmp_path / "out"
    for seed, channels in enumerate((1, 3, 4)):
        save(folder / f"{seed}.png", picture(20, 33 + seed, channels, seed=seed))
    assert exit_of("upscale", model, folder, "--measure", "--out", out) == 0
    text = capsys.readouterr().out
    assert text.startswith("model: after 0 images\n") and "2 times, 3 pictures" in text
    scores = json.loads((out / "scores.json").read_text())
    assert (scores["times"], scores["count"]) == (2, 3) and {"psnr", "ssim"} <= scores["measures"].keys()
    psnr = scores["measures"]["psnr"]
    assert psnr["means"]["model"] == pytest.approx(psnr["means"]["bicubic"], abs=0.02)
    assert len({round(psnr["means"][way], 1) for way in ("bicubic", "lanczos", "nearest")}) == 3
    assert Image.open(out / "comparison.png").width > 4 * 64
    assert exit_of("upscale", model, folder, "--measure", "--out", out) == 2


def test_pictures_that_cannot_be_measured_are_left_out(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "broken.png").write_bytes(b"this is no image")
    save(folder / "dot.png", picture(1, 1, 3))
    assert exit_of("upscale", model, folder, "--measure", "--out", out) == 3
    assert "broken.png: cannot be used: " in capsys.readouterr().err
    for seed in range(3):
        save(folder / "deep" / f"{seed}.png", picture(16, 16, 3, seed=seed))
    assert exit_of("upscale", model, folder, "--measure", "--out", out) == 0
    text = capsys.readouterr().out
    assert "left out: " in text and "broken.png cannot be used" in text and "dot.png is too small" in text
    assert "2 times, 3 pictures" in text
    assert json.loads((out / "scores.json").read_text())["count"] == 3


def test_the_grid_beside_generated_images_is_not_enlarged(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("00000/seed-00000003.png", "00000/sheet.png", "other/sheet.png"):
        save(folder / name, picture(8, 8, 3))
    assert exit_of("upscale", model, folder, "--out", out) == 0
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert written == ["00000/seed-00000003.png", "other/sheet.png"]
    with_classes = write_model(tmp_path / "classes", ("cat", "dog"))
    assert exit_of("generate", with_classes, "--seeds", "4,5", "--out", tmp_path / "pets") == 0
    assert (tmp_path / "pets" / "sheet.png").exists()
    assert exit_of("upscale", model, tmp_path / "pets", "--out", tmp_path / "larger") == 0
    assert len(written := [path.name for path in (tmp_path / "larger").iterdir()]) == 2
    assert all(name.startswith("seed-") for name in written)


def test_an_oracle_is_better_and_a_bad_model_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that knows the true image, and one that gives nearest neighbours; verdicts follow the intervals."""
    monkeypatch.setattr(upscaling_scores, "available", lambda name: False)
    smooth = [np.clip(picture(3, 4, 3, seed=i).repeat(8, 0).repeat(8, 1) + i, 0, 255) for i in range(6)]
    images = [(str(i), image.astype(np.uint8)) for i, image in enumerate(smooth)]
    known = {reduced(image, 2).tobytes(): image for _, image in images}
    oracle, *_ = compare(lambda small: known[small.tobytes()], 2, iter(images), 6, "six")
    assert {name: c.verdict for name, c in oracle.comparisons.items()} == {"psnr": "better", "ssim": "better"}
    assert max(oracle.values["psnr"][MODEL]) == 100
    worse, *_ = compare(lambda small: 255 - enlarged_by(small, 2, "bicubic"), 2, iter(images), 6, "six")
    assert {c.verdict for c in worse.comparisons.values()} == {"worse"}


def test_the_paired_interval() -> None:
    """Student's of the differences: 2, 4 and 6 have mean 4, deviation 2 and t = 4.3027 of 2 degrees."""
    values = {MODEL: [3.0, 6.0, 9.0], RIVAL: [1.0, 2.0, 3.0]}
    found = compared(values, lower_is_better=True)
    reach = 4.302653 * 2 / 3**0.5
    assert found.difference == 4 and found.interval == pytest.approx((4 - reach, 4 + reach), abs=1e-4)
    assert found.verdict == "no clear difference"
    alone = compared({MODEL: [3.0], RIVAL: [1.0]}, lower_is_better=True)
    assert alone.verdict == "no clear difference" and alone.interval is None


# --- training -------------------------------------------------------------------------------------------------------


def test_the_generator_loss_has_the_distance_of_features() -> None:
    config = resolve("upscale", overrides={"critic.width": 4, "generator.width": 4, "objective.l1": 0})
    spec, rng = ImageSpec(16, 16, 4), torch.Generator().manual_seed(0)
    generator = build_generator(config.generator, spec, condition=4)
    nn.init.normal_(generator.picture.weight, std=0.1, generator=rng)
    critic = build_critic(config.critic, spec, 0, 0, 4)
    real, small = torch.rand(3, 4, 16, 16, generator=rng) * 2 - 1, torch.rand(3, 4, 8, 8, generator=rng) * 2 - 1
    condition = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    batch, z = Batch(real, None, condition), torch.zeros(3, 1)
    losses, moved = {}, {}
    for weight in (0.0, 7.0):
        plain = build_objective(config.objective.model_copy(update={"features": weight}))
        objective = with_feature_distance(plain, CPU, straight=False)
        outcome = generator_pass(generator, critic, objective, "float32", GeneratorInputs(z, batch))
        losses[weight], moved[weight] = outcome.values["generator_loss"], outcome.gradients
    network = small_network()
    colours = [(images[:, :3] + 1) * 127.5 for images in (generator(z, None, condition).detach(), real)]
    distance = layer_distance(*(network.layers(x) for x in colours))
    torch.testing.assert_close(losses[7.0] - losses[0.0], 7 * distance, rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(a, b) for a, b in zip(moved[0.0], moved[7.0], strict=True))
    assert not any(p.requires_grad for p in network.parameters())


def test_features_need_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", "objective.features=1", "--images", "8", "--runs", tmp_path, "--dry-run"]
    assert exit_of("train", "glyphs", *TINY, "--set", "data.limit=40", *words) == 2
    assert "objective.features: needs the real image" in capsys.readouterr().err


def test_a_run_from_training_to_measuring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--preset", "upscale", "--images", 24, "--runs", tmp_path, "--name", "up", "--set", "data.limit=60"]
    assert exit_of("train", "glyphs", *TINY, *words, "--set", "data.holdout=0.3", "--set", "generator.blocks=1") == 0
    text = capsys.readouterr().out
    run = tmp_path / "00000-up"
    assert "to enlarge: " in text and f"upscale {run} PICTURES --out larger" in text
    assert (run / "samples" / "fixed").is_dir()
    assert exit_of("upscale", "up", "--runs", tmp_path, "--measure", "--count", 3) == 0
    text = capsys.readouterr().out
    assert "3 of " in text and "held out of training" in text
    assert (run / "upscaled" / "00000" / "scores.json").is_file()
    assert exit_of("report", run) == 0
    assert "kantor upscale" in (run / "report.html").read_text("utf-8")
    assert exit_of("train", "--resume", run, "--images", 32) == 0
    shutil.rmtree(run / "upscaled")
    assert exit_of("upscale", run, "--raw", "--newest", run, "--runs", tmp_path) == 4, "it generates nothing to enlarge"
