"""`kantor paint PIPELINE.toml`: what each stage writes, seeds that do not depend on each other, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skimage", reason="the extra `edges` is not installed")

import kantor
from kantor.config.networks import UnetGenerator, UpscaleGenerator
from kantor.errors import ConfigError
from kantor.export.weights import Card, write_generator
from kantor.nets import build_generator
from kantor.types import ImageSpec
from support.commands import exit_of
from support.models import write_model

SPEC = ImageSpec(16, 16, 3)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that generate lines, layouts, sprites, pictures; that colour; that enlarge; with pictures and drawings."""
    folder = tmp_path_factory.mktemp("studio")
    for name, spec in (("lines", 1), ("sprites", 4), ("rgb", 3)):
        write_model(folder / name, (), SPEC._replace(channels=spec))
    write_model(folder / "layouts", (), ImageSpec(32, 32, 1))
    write_model(folder / "large", (), ImageSpec(32, 32, 1))
    unet, larger = UnetGenerator(width=4, max_width=8, latent_dim=5), UpscaleGenerator(width=4, blocks=1, times=2)
    for name, config, channels, settings in (("colours", unet, 1, {}), ("upscaler", larger, 3, {"smaller": 2})):
        network = build_generator(config, SPEC, 0, 4, channels)
        (folder / name).mkdir()
        card = Card(SPEC, config, "relativistic", (), 0, channels, settings)
        write_generator(folder / name / "generator.safetensors", network, card)
    random = np.random.default_rng(2)
    (folder / "photos").mkdir()
    for name, shape in (("a", (40, 60, 3)), ("b", (30, 30, 3))):
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / "photos" / f"{name}.png")
    (folder / "pen").mkdir()
    for i in (5, 9):
        sketch = np.full((16, 16), 255, np.uint8)
        sketch[i] = 0
        Image.fromarray(sketch).save(folder / "pen" / f"{i}.png")
    return folder


def model(name: str) -> str:
    return f'model = "{name}/generator.safetensors"'


def stages(*tables: str) -> str:
    return "\n".join(f"[[stage]]\nkind = {table}\n" for table in tables)


LINES, COLOURS = f'"lines"\n{model("lines")}', f'"colours"\n{model("colours")}'
LAYOUT, OBJECTS = f'"layout"\n{model("layouts")}', f'"objects"\n{model("sprites")}'
UPSCALE, ASSEMBLE = f'"upscale"\n{model("upscaler")}', '"assemble"'
PHOTOS = '"ground"\npictures = "photos"\nsize = "48x64"'
SCENE = stages(PHOTOS, LAYOUT, OBJECTS, ASSEMBLE, UPSCALE)


def written(folder: Path, text: str, name: str = "p.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def image(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_each_stage_is_kept(studio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert exit_of("paint", written(studio, SCENE), "--seeds", "0-2,7", "--out", out, "--device", "cpu") == 0
    assert "wrote 4 paintings to" in capsys.readouterr().out
    ends = ("-ground", "-layout", "-objects", "-assemble", "", "-strip")
    names = {f"seed-{seed:08}{end}.png" for seed in (0, 1, 2, 7) for end in ends}
    assert {path.name for path in out.iterdir()} == names | {"sheet.png", "places.json"}
    assert image(out / "seed-00000007-ground.png").shape == (48, 64, 3)
    assert image(out / "seed-00000007-assemble.png").shape == (48, 64, 3)
    assert image(out / "seed-00000007.png").shape == (96, 128, 3)
    strip, sheet = image(out / "seed-00000007-strip.png"), image(out / "sheet.png")
    assert strip.shape[1] > 5 * 96 and sheet.shape[1] == strip.shape[1] and sheet.shape[0] > 3 * strip.shape[0]
    places = json.loads((out / "places.json").read_text("utf-8"))["pictures"]
    assert [entry["layout"] for entry in places] == [0, 1, 2, 7] and sum(len(entry["sprites"]) for entry in places) > 0
    for entry in places:
        ground, made = (image(out / entry["file"].replace(".png", f"-{end}.png")) for end in ("ground", "assemble"))
        assert (entry["height"], entry["width"]) == (48, 64)
        changed = (ground != made).any(axis=2)
        assert changed.any() == any(sprite["width"] * sprite["height"] for sprite in entry["sprites"])
        for sprite in entry["sprites"]:
            assert sprite["seed"] // 64 == entry["layout"]


def test_a_seed_is_the_same_painting_alone_and_in_python(studio: Path, tmp_path: Path) -> None:
    path = written(studio, SCENE)
    together = kantor.paint(path, [3, 7, 8])
    (alone,) = kantor.paint(path, [7])
    assert list(alone) == ["ground", "layout", "objects", "assemble", "upscale"]
    for name, made in alone.items():
        np.testing.assert_array_equal(made, together[1][name])
    assert not np.array_equal(together[0]["assemble"], together[2]["assemble"])
    assert exit_of("paint", path, "--seeds", "7", "--out", tmp_path / "out", "--device", "cpu") == 0
    np.testing.assert_array_equal(image(tmp_path / "out" / "seed-00000007.png"), alone["upscale"])
    np.testing.assert_array_equal(image(tmp_path / "out" / "seed-00000007-layout.png"), alone["layout"][:, :, 0])
    photos = [kantor.paint(path, [seed])[0]["ground"] for seed in (0, 1, 2)]
    assert np.array_equal(photos[0], photos[2]) and not np.array_equal(photos[0], photos[1])
    mean, other = kantor.paint(path, [2, 7], truncation=0)
    assert np.array_equal(mean["layout"], other["layout"]) and not np.array_equal(mean["ground"], other["ground"])


def test_two_models_are_a_pipeline_of_lines_and_colours(
    studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(studio)
    path = written(studio, stages(LINES, COLOURS))
    models = "lines/generator.safetensors", "colours/generator.safetensors"
    assert exit_of("paint", *models, "--seeds", "0-4", "--out", tmp_path / "two", "--device", "cpu") == 0
    assert exit_of("paint", path, "--seeds", "0-4", "--out", tmp_path / "stages", "--device", "cpu") == 0
    for painting in (tmp_path / "two").glob("seed-*.png"):
        np.testing.assert_array_equal(image(painting), image(tmp_path / "stages" / painting.name))
    assert len(list((tmp_path / "two").glob("seed-*.png"))) == 10


def test_own_drawings_and_what_is_painted_as_a_ground(studio: Path) -> None:
    """Drawings come one after the other; the colouring becomes the ground, and what is assembled is enlarged."""
    ground = '"ground"\nsize = 32'
    text = stages('"lines"\ndrawings = "pen"', COLOURS, ground, LAYOUT, OBJECTS, ASSEMBLE, UPSCALE, UPSCALE)
    made = kantor.paint(written(studio, text), range(3))
    assert list(made[0])[-2:] == ["upscale-7", "upscale-8"] and made[0]["upscale-8"].shape == (128, 128, 3)
    assert [int(np.argmin(one["lines"][:, 0, 0])) for one in made] == [5, 9, 5]
    assert made[0]["ground"].shape == (32, 32, 3) and not np.array_equal(made[0]["colours"], made[2]["colours"])


@pytest.mark.parametrize(("colour", "channels"), [("#102030", 3), ("transparent", 4)])
def test_plain_grounds_and_a_model_of_grounds(studio: Path, colour: str, channels: int) -> None:
    plain = f'"ground"\ncolour = "{colour}"\nsize = "24x40"'
    (made,) = kantor.paint(written(studio, stages(plain, LAYOUT, OBJECTS, ASSEMBLE)), [1])
    assert made["assemble"].shape == (24, 40, channels)
    (made,) = kantor.paint(written(studio, stages(f'"ground"\n{model("rgb")}')), [1])
    np.testing.assert_array_equal(
        made["ground"], kantor.load(studio / "rgb" / "generator.safetensors").generate([1])[0]
    )


REFUSED = [
    (stages('"lines"\nmodel = "none/generator.safetensors"', COLOURS), 4, "stage 1 (lines): DIR/none/generator.safetensors: "),
    (stages('"lines"\nmodel = "nobody"', COLOURS), 4, "stage 1 (lines): nobody: "),
    (stages(COLOURS), 2, "stage 1 (colours): needs lines"),
    (stages(f'"lines"\n{model("rgb")}', COLOURS), 4, "stage 2 (colours): rgb/generator.safetensors: makes 16x16 RGB images, but lines are grey"),
    (stages(f'"lines"\n{model("large")}', COLOURS), 2, "stage 2 (colours): large/generator.safetensors: makes 32, colours"),
    (stages(LINES, f'"colours"\n{model("rgb")}'), 4, "stage 2 (colours): rgb/generator.safetensors: this model does not colour outlines"),
    (stages(f'"lines"\n{model("colours")}'), 4, "stage 1 (lines): colours/generator.safetensors: this model colours outlines and"),
    (stages('"lines"\ndrawings = "pen"'), 2, "stage 1 (lines): pen: drawings are brought to the size of what colours them; add a"),
    (stages('"lines"\ndrawings = "ink"', COLOURS), 4, "stage 1 (lines): DIR/ink: there is no image, folder or run of this name"),
    (stages(f'"layout"\n{model("rgb")}'), 4, "stage 1 (layout): rgb/generator.safetensors: generates 16x16 RGB images, but layouts"),
    (stages(LAYOUT, f'"objects"\n{model("rgb")}'), 4, "stage 2 (objects): rgb/generator.safetensors: generates 16x16 RGB images, which h"),
    (stages('"ground"\npictures = "nowhere"'), 3, "stage 1 (ground): DIR/nowhere: does not exist"),
    (stages('"ground"\npictures = "p.toml"'), 3, "stage 1 (ground): DIR/p.toml: cannot be used"),
    (stages(LINES, f'"upscale"\n{model("rgb")}'), 4, "stage 2 (upscale): rgb/generator.safetensors: this model does not enlarge"),
    (stages('"ground"\ncolour = "transparent"\nsize = 1000', *[UPSCALE] * 4), 2, "stage 5 (upscale): upscaler/generator.safetensors: its pictures would have 256,000,000 pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refused_before_anything_is_written(
    studio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, message: str
) -> None:
    assert exit_of("paint", written(studio, text), "--out", tmp_path / "out", "--device", "cpu") == code
    error = capsys.readouterr().err.replace(str(studio), "DIR")
    assert error.startswith(f"error: DIR/p.toml: {message}"), error
    assert error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_what_does_not_go_with_a_pipeline(studio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = written(studio, SCENE), tmp_path / "out"
    assert exit_of("paint", path, "colours", "--out", out) == 2
    assert "which names all models; leave it out" in capsys.readouterr().err
    assert exit_of("paint", path, "--grid", "2x2", "--out", out) == 2
    assert "--grid: does not go with a pipeline" in capsys.readouterr().err
    assert exit_of("paint", studio / "lines" / "generator.safetensors", "--out", out) == 2
    assert "is no pipeline, and a COLOUR_MODEL is missing" in capsys.readouterr().err
    out.mkdir()
    (out / "holiday.png").write_bytes(b"")
    assert exit_of("paint", path, "--out", out) == 2
    assert "contains holiday.png" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="truncation"):
        kantor.paint(path, [0], truncation=9)
