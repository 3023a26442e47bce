"""Parts of the user's own: the examples of the page, and what goes wrong."""

from __future__ import annotations

import importlib.util
import io
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import kantor
from commands import exit_of
from kantor import nets
from kantor.data.sources import own
from kantor.objectives import objective

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
TINY = {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60, "train.precision": "float32"}


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Registrations and runs of a test are its own."""
    for registry in (objective.OWN, nets.OWN_CRITICS, nets.OWN_GENERATORS, own.OWN):
        for name in list(registry):
            monkeypatch.delitem(registry, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KANTOR_CACHE", str(tmp_path / "cache"))


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(**fields: Any) -> kantor.Run:
    options = {"batch": 8, "size": 16, "images": 64, "quiet": True, "device": "cpu"}
    return kantor.train("glyphs", overrides={**TINY, **fields}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["own_objective", "own_network", "own_source"])
def test_the_page_shows_the_examples_and_they_are_short(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text("utf-8")
    assert text in (EXAMPLES.parent / "extend.md").read_text("utf-8")
    assert len([line for line in text.splitlines() if line.strip()]) < 30


def test_an_own_objective_trains_and_resumes() -> None:
    example("own_objective")
    penalty = {"at.kind": "real", "of": "zero-centred", "weight": 1.0}
    fields = {f"objective.penalties.r1.{name}": value for name, value in penalty.items()}
    run = train(**{"objective.kind": "custom", "objective.name": "exponential", **fields})
    assert run.metrics["penalty"].max() > 0
    assert kantor.train(resume=run.path, images=96, quiet=True, device="cpu").metrics["images_seen"][-1] == 96
    objective.OWN.clear()
    with pytest.raises(kantor.ConfigError, match="nobody has registered it"):
        kantor.train(resume=run.path, images=128, quiet=True, device="cpu")


def test_an_own_critic_trains() -> None:
    example("own_network")
    fields = {"critic.kind": "custom", "critic.name": "rows", "critic.options.hidden": 12}
    run = train(**fields)
    assert run.reason == "done"
    assert "12" in (run.path / "config.toml").read_text()
    nets.OWN_CRITICS.clear()  # whoever looks at the page need not have the code
    assert exit_of("report", run.path) == 0
    assert "rows, of the user&#x27;s own" in (run.path / "report.html").read_text()


def odd(config: Any, spec: Any, classes: int) -> torch.nn.Module:
    """A critic with weights that no initialiser knows, and dropout."""

    class Odd(torch.nn.Module):
        traits = kantor.Traits(mixes_batch=False)

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(spec.channels * spec.height * spec.width) / 30)
            self.drop = kantor.Dropout(0.5)

        def forward(self, x: Any, labels: Any = None, condition: Any = None) -> Any:
            return self.drop(x.flatten(1)) @ self.weight

    return Odd()


def test_own_networks_are_drawn_from_the_seed_and_go_on_bit_for_bit() -> None:
    @kantor.generator("spotty")
    class Spotty(torch.nn.Module):
        traits = kantor.Traits(mixes_batch=False)

        def __init__(self, config: Any, spec: Any, classes: int) -> None:
            super().__init__()
            self.spec, self.drop = spec, kantor.Dropout(0.5)
            self.weight = torch.nn.Parameter(torch.randn(config.latent_dim, spec.height * spec.width * spec.channels))

        def forward(self, z: Any, labels: Any = None, condition: Any = None) -> Any:
            height, width, channels = self.spec
            return torch.tanh(self.drop(z) @ self.weight).reshape(-1, channels, height, width)

    kantor.critic("odd")(odd)
    own = {"critic.kind": "custom", "critic.name": "odd", "generator.kind": "custom", "generator.name": "spotty",
           "generator.latent_dim": 8, "train.snapshot_images": 32}  # fmt: skip
    torch.manual_seed(1)
    whole = train(**own)
    torch.manual_seed(2)
    again = train(**own)
    files = [(run.path / "generator.safetensors").read_bytes() for run in (whole, again)]
    assert files[0] == files[1]
    shutil.rmtree(again.path / "checkpoints" / "000000064")
    kantor.train(resume=again.path, quiet=True, device="cpu")
    assert (again.path / "generator.safetensors").read_bytes() == files[0]


@pytest.mark.parametrize("layer", [torch.nn.Dropout(), torch.nn.Dropout2d(), torch.nn.AlphaDropout()])
def test_dropout_that_would_not_resume_is_refused(layer: torch.nn.Module) -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), layer, torch.nn.Linear(768, 1))
    kantor.critic("dropped")(lambda config, spec, classes: network)
    with pytest.raises(kantor.ConfigError, match=r"use kantor\.Dropout"):
        train(**{"critic.kind": "custom", "critic.name": "dropped"})


def test_an_own_source_trains() -> None:
    database = sqlite3.connect("album.db")
    database.execute("CREATE TABLE pictures (file BLOB, class TEXT)")
    for i in range(24):
        picture = io.BytesIO()
        Image.new("RGB", (20, 16), (10 * i, 0, 90)).save(picture, "PNG")
        database.execute("INSERT INTO pictures VALUES (?, ?)", [picture.getvalue(), ["fish", "bird"][i % 2]])
    database.commit()
    kantor.source("album", example("own_source").Album("album.db"))
    options = {"batch": 8, "size": 16, "images": 64, "quiet": True, "device": "cpu", "conditional": True}
    run = kantor.train("python:album", overrides=TINY, **options)  # type: ignore[arg-type]
    assert run.model().class_names == ("bird", "fish")


def test_an_own_generator_is_saved_and_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    @kantor.generator("flat")
    class Flat(torch.nn.Module):
        traits = kantor.Traits(mixes_batch=False, piecewise_linear=False, normalisation="none")

        def __init__(self, config: Any, spec: Any, classes: int) -> None:
            super().__init__()
            self.spec = spec
            self.layer = torch.nn.Linear(config.latent_dim, spec.height * spec.width * spec.channels)

        def forward(self, z: Any, labels: Any = None, condition: Any = None) -> Any:
            height, width, channels = self.spec
            return torch.tanh(self.layer(z)).reshape(-1, channels, height, width)

    run = train(**{"generator.kind": "custom", "generator.name": "flat", "generator.latent_dim": 8})
    pictures = kantor.load(run.path / "generator.safetensors").generate(range(3))
    assert pictures.shape == (3, 16, 16, 3)
    del nets.OWN_GENERATORS["flat"]
    with pytest.raises(kantor.ModelError, match="flat is not built in"):
        kantor.load(run.path)
    assert exit_of("generate", run.path) == 4
    assert "import the Python module" in capsys.readouterr().err


def test_what_goes_wrong() -> None:
    with pytest.raises(kantor.ConfigError, match="turn its sign round"):
        kantor.objective("wrong", lambda real, fake: real - fake, lambda real, fake: -fake)
    with pytest.raises(kantor.ConfigError, match="one number a sample"):
        kantor.objective("mean", lambda real, fake: (fake - real).mean(), lambda real, fake: -fake)
    kantor.critic("mute")(lambda config, spec, classes: torch.nn.Flatten())
    with pytest.raises(kantor.ConfigError, match="does not say what it is"):
        train(**{"critic.kind": "custom", "critic.name": "mute"})
    with pytest.raises(kantor.ConfigError, match="nobody has registered it"):
        train(**{"critic.kind": "custom", "critic.name": "unknown"})
