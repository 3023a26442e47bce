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
from safetensors.torch import load_file

import kantor
from kantor.data.sources import python_object
from kantor.nets import custom
from kantor.objectives import objective
from support.commands import exit_of
from support.paths import ROOT

EXAMPLES = ROOT / "docs" / "examples"
TINY = {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60, "train.precision": "float32"}
TINY["data.channels"] = "rgb"


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Registrations and runs of a test are its own."""
    for registry in (objective.REGISTERED, *custom.REGISTERED.values(), python_object.REGISTERED):
        for name in list(registry):
            monkeypatch.delitem(registry, name)
    monkeypatch.chdir(tmp_path)


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(**fields: Any) -> kantor.Run:
    options = {"batch": 8, "size": 16, "images": 64, "quiet": True, "device": "cpu"}
    return kantor.train("glyphs", overrides={**TINY, **fields}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["own_objective", "own_network", "own_source", "own_features"])
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
    objective.REGISTERED.clear()
    with pytest.raises(kantor.ConfigError, match="neither built in nor registered"):
        kantor.train(resume=run.path, images=128, quiet=True, device="cpu")


def test_an_own_critic_trains() -> None:
    example("own_network")
    fields = {"critic.kind": "custom", "critic.name": "rows", "critic.options.hidden": 12}
    run = train(**fields)
    assert run.reason == "done"
    assert "12" in (run.path / "config.toml").read_text()
    custom.REGISTERED["critic"].clear()  # whoever looks at the page need not have the code
    assert exit_of("report", run.path) == 0
    assert "rows, user-registered" in (run.path / "report.html").read_text()


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
    database.execute("CREATE TABLE images (file BLOB, class TEXT)")
    for i in range(24):
        image = io.BytesIO()
        Image.new("RGB", (20, 16), (10 * i, 0, 90)).save(image, "PNG")
        database.execute("INSERT INTO images VALUES (?, ?)", [image.getvalue(), ["fish", "bird"][i % 2]])
    database.commit()
    kantor.source("album", example("own_source").Album("album.db"))
    options = {"batch": 8, "size": 16, "images": 64, "quiet": True, "device": "cpu", "conditional": True}
    run = kantor.train("python:album", overrides=TINY, **options)  # type: ignore[arg-type]
    assert run.model().class_names == ("bird", "fish")


def test_an_own_generator_is_saved_and_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    @kantor.generator("flat")
    class Flat(torch.nn.Module):
        traits = kantor.Traits(mixes_batch=False, normalisation="none")

        def __init__(self, config: Any, spec: Any, classes: int) -> None:
            super().__init__()
            self.spec = spec
            self.layer = torch.nn.Linear(config.latent_dim, spec.height * spec.width * spec.channels)

        def forward(self, z: Any, labels: Any = None, condition: Any = None) -> Any:
            height, width, channels = self.spec
            return torch.tanh(self.layer(z)).reshape(-1, channels, height, width)

    run = train(**{"generator.kind": "custom", "generator.name": "flat", "generator.latent_dim": 8})
    images = kantor.load(run.path / "generator.safetensors").generate(range(3))
    assert images.shape == (3, 16, 16, 3)
    del custom.REGISTERED["generator"]["flat"]
    with pytest.raises(kantor.ModelError, match="flat is neither built in"):
        kantor.load(run.path)
    assert exit_of("generate", run.path) == 4
    assert "import the Python module" in capsys.readouterr().err


GOOD = (lambda real, fake: fake - real, lambda real, fake: -fake)


@pytest.mark.parametrize(
    ("critic", "generator", "says"),
    [
        (lambda r, f: r - f, GOOD[1], "does not fall when real scores rise"),
        (lambda r, f: -r - f, GOOD[1], "does not fall when scores of generated images fall"),
        (lambda r, f: 0 * r, GOOD[1], "does not fall when real scores rise"),
        (lambda r, f: (f - r).mean(), GOOD[1], r"one number per sample, \[N\]; the critic's is a tensor \[\]"),
        (lambda r, f: 0.3, GOOD[1], "the critic's is float"),
        (lambda r: -r, GOOD[1], "fails with TypeError"),
        (lambda r, f: (f - r).detach(), GOOD[1], "cannot be differentiated"),
        (lambda r, f: (f - r) / 0, GOOD[1], "is not finite"),
        (GOOD[0], lambda r, f: f, "change its sign"),
        (GOOD[0], lambda r, f: r - f, "register it with generator_needs_real=True"),
        (GOOD[0], lambda r, f: None, "the generator's is NoneType"),
    ],
)
def test_losses_that_would_not_do(critic: Any, generator: Any, says: str) -> None:
    with pytest.raises(kantor.ConfigError, match=says):
        kantor.objective("mine", critic, generator)
    assert not objective.REGISTERED


def test_losses_that_do() -> None:
    kantor.objective("mine", *GOOD, wasserstein=True)
    kantor.objective("pairs", GOOD[0], lambda r, f: r - f, generator_needs_real=True)
    kantor.objective("squares", lambda r, f: (r - 1) ** 2 + (f + 1) ** 2, lambda r, f: (f - 1) ** 2)
    kantor.objective("chi-squared", lambda r, f: (r - 1) ** 2 + (f + 1) ** 2, lambda r, f: f**2)  # Mao et al. 2017
    kantor.objective("narrow", lambda r, f: (0.1 - r).relu() + (0.1 + f).relu(), lambda r, f: -f)


def test_a_pretrained_part_may_have_batch_norm_and_dropout() -> None:
    """Where it keeps to evaluation, it mixes nothing and draws nothing."""

    class Kept(torch.nn.Sequential):
        def train(self, mode: bool = True) -> Any:
            return super().train(False)

    part = Kept(torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(768, 6))
    part.requires_grad_(False).eval()
    head = torch.nn.Linear(6, 1)
    forward = lambda self, x, y, c=None: self.layers[1](self.layers[0](x).relu())[:, 0]  # noqa: E731
    kantor.critic("head")(simple(forward, part, head))
    assert train(**{"critic.kind": "custom", "critic.name": "head", "critic.init": "own"}).reason == "done"


def simple(forward: Any, *layers: torch.nn.Module, **traits: Any) -> Any:
    class Simple(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(layers)

    Simple.forward = forward
    Simple.traits = kantor.Traits(mixes_batch=False, **traits)  # type: ignore[attr-defined]
    return lambda config, spec, classes: Simple()


FLAT = torch.nn.Linear(3 * 16 * 16, 1)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (simple(lambda self, x: x, FLAT), "fails with TypeError"),
        (lambda: None, "its constructor fails with TypeError"),
        (lambda *_: 3, "returns int, not a torch module"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1)).mean(), FLAT), r"gives \[\] for a batch of 4"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1)), FLAT), r"return scores \[N\], here \[4\]"),
        (simple(lambda self, x, y, c=None: x.flatten(1).sum(1)), "no trainable weights"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1))[:, 0], torch.nn.Linear(5, 1)), "cannot be mult"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.view(4, -1))[:, 0], FLAT), "replace .view by .reshape"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1))[:, 0].detach(), FLAT), "differentiated"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1))[:, 0] / 0, FLAT), "not finite"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1))[:, 0].double(), FLAT), "compute in float32"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1))[:, 0], FLAT, torch.nn.Linear(2, 2)), "layers.1"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1))[:, 0], torch.nn.LazyLinear(1)), "lazy layers"),
        (simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1))[:, 0], FLAT, torch.nn.BatchNorm2d(3)), "traits"),
    ],
)  # fmt: skip
def test_faults_of_an_own_critic_are_named_before_a_run_begins(build: Any, says: str) -> None:
    kantor.critic("faulty")(build)
    with pytest.raises(kantor.ConfigError, match=says) as caught:
        train(**{"critic.kind": "custom", "critic.name": "faulty"})
    assert str(caught.value).startswith("critic.name = faulty: ")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (lambda self, z, y, c=None: self.layers[0](z), "return images"),
        (lambda self, z, y, c=None: self.layers[0](z).reshape(-1, 16, 16, 3).tanh(), r"here \[4, 3, 16, 16\]"),
        (lambda self, z, y, c=None: 100 * self.layers[0](z).reshape(-1, 3, 16, 16), "end it with torch.tanh"),
    ],
)
def test_faults_of_an_own_generator_are_named(forward: Any, says: str) -> None:
    kantor.generator("faulty")(simple(forward, torch.nn.Linear(8, 768)))
    with pytest.raises(kantor.ConfigError, match=says):
        train(**{"generator.kind": "custom", "generator.name": "faulty", "generator.latent_dim": 8})


def test_weights_of_ones_own_and_lists_of_options() -> None:
    """`init = "own"` leaves what the network brings along; options may be lists."""
    seen: list[Any] = []

    def build(config: Any, spec: Any, classes: int) -> torch.nn.Module:
        seen.append(config.options["sizes"])
        layer = torch.nn.Linear(768, 1)
        with torch.no_grad():
            layer.weight.fill_(0.125)
        return simple(lambda self, x, y, c=None: self.layers[0](x.flatten(1))[:, 0], layer)(config, spec, classes)

    kantor.critic("mine")(build)
    fields = {"critic.kind": "custom", "critic.name": "mine", "critic.init": "own", "critic.options.sizes": [1, 2.5, "a"],
              "optimizer.critic.lr": 1e-30}  # fmt: skip
    run = train(**fields)
    assert seen[-1] == (1, 2.5, "a")
    saved = load_file(sorted((run.path / "checkpoints").iterdir())[-1] / "model.safetensors")
    assert (saved["critic/layers.0.weight"] == 0.125).all()
    assert kantor.train(resume=run, images=72, quiet=True, device="cpu").reason == "done"


def test_frozen_weights_stay_as_they_are() -> None:
    """A critic on top of features that are not trained: they are saved with it, and never changed."""
    backbone = torch.nn.Linear(768, 6).requires_grad_(False)
    head = torch.nn.Linear(6, 1)
    kantor.critic("head")(simple(lambda self, x, y, c=None: head_of(self, x), backbone, head))
    run = train(**{"critic.kind": "custom", "critic.name": "head", "critic.init": "he"})
    saved = [load_file(p / "model.safetensors") for p in sorted((run.path / "checkpoints").iterdir())]
    again = kantor.train(resume=run, images=96, quiet=True, device="cpu")
    last = load_file(sorted((again.path / "checkpoints").iterdir())[-1] / "model.safetensors")
    assert torch.equal(saved[-1]["critic/layers.0.weight"], last["critic/layers.0.weight"])
    assert not torch.equal(saved[-1]["critic/layers.1.weight"], last["critic/layers.1.weight"])


def head_of(network: Any, x: torch.Tensor) -> torch.Tensor:
    return network.layers[1](network.layers[0](x.flatten(1)).relu())[:, 0]


def test_what_goes_wrong() -> None:
    kantor.critic("mute")(lambda config, spec, classes: torch.nn.Flatten())
    with pytest.raises(kantor.ConfigError, match="declares no traits"):
        train(**{"critic.kind": "custom", "critic.name": "mute"})
    with pytest.raises(kantor.ConfigError, match="neither built in nor registered"):
        train(**{"critic.kind": "custom", "critic.name": "unknown"})
