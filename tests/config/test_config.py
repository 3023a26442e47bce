"""Configurations: precedence, round trips, and messages."""

from __future__ import annotations

import random
import re
import time
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from kantor.config import io
from kantor.config.base import parse_size
from kantor.config.io import difference, layered, parse_override, preset_names, resolve, to_toml
from kantor.config.objective import PenaltyConfig, PerturbedProbe, Relativistic, WganGp
from kantor.config.optimizer import LinearRate, RmspropConfig, SgdConfig
from kantor.config.schema import Config
from kantor.errors import ConfigError


def from_text(folder: Path, text: str | bytes, **options: Any) -> Config:
    file = folder / "my.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return resolve(file=file, **options)


def test_precedence(tmp_path: Path) -> None:
    """Schema 64 and 1e-4, preset 16 and 1e-3, file 48, override 40: each wins over those before it."""
    assert Config().generator.width == 64
    assert Config().train.seed == resolve().train.seed == 0
    assert (resolve().generator.width, resolve().optimizer.critic.lr) == (16, 2.4e-3)
    text = "[generator]\nwidth = 48\n[train]\nseed = 5"
    config = from_text(tmp_path, text)
    assert (config.generator.width, config.train.seed, config.critic.width) == (48, 5, 32)
    config = from_text(tmp_path, text, overrides={"generator.width": 40, "critic.norm": "layer"})
    assert (config.generator.width, config.critic.norm, config.train.seed) == (40, "layer", 5)
    config = from_text(tmp_path, text, preset="wgan")
    assert (config.generator.width, config.critic.width, config.objective.kind) == (48, 64, "wgan")
    two = {"objective.kind": "wgan-gp", "objective.penalties.gradient.weight": 3.0}
    assert resolve(overrides=two).objective == WganGp(penalties={"gradient": PenaltyConfig(weight=3.0)})


def test_another_kind_starts_from_its_defaults(tmp_path: Path) -> None:
    before = resolve("default")
    assert list(before.objective.penalties) == ["r1", "r2"] and before.objective.penalties["r1"].every == 8
    assert from_text(tmp_path, '[objective]\nkind = "wgan-gp"').objective == WganGp()
    sgd = from_text(tmp_path, '[optimizer.critic]\nkind = "sgd"\nmomentum = 0.5').optimizer
    assert sgd.critic == SgdConfig(momentum=0.5), "the rate of the other kind is gone"
    assert sgd.generator == before.optimizer.generator
    same = from_text(tmp_path, '[objective]\nkind = "relativistic"\n[objective.penalties.r1]\nweight = 7.0').objective
    assert (same.penalties["r1"].weight, same.penalties["r1"].every) == (7.0, 8), "the same kind keeps its values"
    assert same.penalties["r2"] == before.objective.penalties["r2"]


def test_kinds_within_kinds(tmp_path: Path) -> None:
    """The outer variant brings its defaults before an inner one is changed."""
    text = '[objective]\nkind = "relativistic"\n[objective.penalties.r1.at]\nkind = "perturbed"\nstd = 0.1'
    got = from_text(tmp_path, text, preset="wgan").objective
    r1, r2 = Relativistic().penalties["r1"], Relativistic().penalties["r2"]
    assert got.penalties == {"r1": r1.model_copy(update={"at": PerturbedProbe(std=0.1)}), "r2": r2}
    text = '[optimizer.critic]\nkind = "rmsprop"\n[optimizer.critic.schedule]\nkind = "linear"\nhold = 0.5'
    got = from_text(tmp_path, text).optimizer.critic
    assert got == RmspropConfig(schedule=LinearRate(hold=0.5))


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("overrides", [{}, {"objective.penalties.mine.at.kind": "fake", "data.size": "48x96"}])
def test_presets_come_back_from_toml(tmp_path: Path, preset: str, overrides: dict[str, Any]) -> None:
    config = resolve(preset, None, overrides)
    text = to_toml(config)
    assert from_text(tmp_path, text) == config
    assert layered(Config(), io.read_toml(tmp_path / "my.toml"), "x") == config
    assert to_toml(from_text(tmp_path, text)) == text
    assert io.preset_text(preset).startswith("#"), "a preset says what it is"


def test_presets() -> None:
    assert {"default", "dcgan", "wgan", "wgan-gp"} <= set(preset_names())
    paper = resolve("wgan-gp")
    assert (paper.cycle.critic_steps, paper.optimizer.critic.betas) == (5, (0.0, 0.9))
    assert paper.objective.penalties["gradient"].weight == 10 and paper.ema.kind == "none"
    with pytest.raises(ConfigError, match='--preset wgan-pg: there is no preset of this name; did you mean "wgan-gp"'):
        resolve("wgan-pg")
    with pytest.raises(ConfigError, match="presets nothing: there is no preset of this name; list them with `kantor "):
        io.preset_text("nothing")


def test_difference() -> None:
    a = resolve("wgan")
    assert difference(a, a) == {}
    b = layered(a, {"train": {"seed": 1}, "optimizer": {"critic": {"kind": "sgd"}}}, "x")
    assert difference(a, b) == {
        "train.seed": (0, 1),
        "optimizer.critic.kind": ("rmsprop", "sgd"),
        "optimizer.critic.lr": (5e-5, 1e-4),
        "optimizer.critic.alpha": (0.99, None),
        "optimizer.critic.eps": (1e-8, None),
        "optimizer.critic.momentum": (None, 0.0),
    }


OVERRIDES = {
    "critic.width=32": ("critic.width", 32),
    " optimizer.critic.lr = 1e-3": ("optimizer.critic.lr", 1e-3),
    "data.mirror=true": ("data.mirror", True),
    "data.mirror=True": ("data.mirror", "True"),
    'data.size="64"': ("data.size", "64"),
    "data.size=48x96": ("data.size", "48x96"),
    "optimizer.critic.betas=[0.5, 0.9]": ("optimizer.critic.betas", [0.5, 0.9]),
    "data.source=a=b": ("data.source", "a=b"),
    "data.source=": ("data.source", ""),
    "a=" + "[" * 100_000: ("a", "[" * 100_000),
    "a=" + "9" * 5000: ("a", "9" * 5000),
}


def test_kinds_are_set_first_in_any_order() -> None:
    fields = {"critic.width": 8, "critic.kind": "resnet", "objective.penalties.gradient.at.std": 0.25,
              "objective.penalties.gradient.at.kind": "perturbed", "objective.kind": "wgan-gp"}  # fmt: skip
    for overrides in (fields, dict(reversed(fields.items()))):
        config = resolve(overrides=overrides)
        assert (config.critic.kind, config.critic.width) == ("resnet", 8)
        assert config.objective.penalties["gradient"].at.std == 0.25  # type: ignore[union-attr]


def test_a_table_is_set_before_its_fields() -> None:
    fields = {"objective.penalties.extra.at.kind": "real", "objective.penalties.extra": {"at": {"kind": "fake"}}}
    for overrides in (fields, dict(reversed(fields.items()))):
        assert resolve(overrides=overrides).objective.penalties["extra"].at.kind == "real"


def test_parse_override() -> None:
    for text, expected in OVERRIDES.items():
        got = parse_override(text)
        assert got == expected and type(got[1]) is type(expected[1])


def test_parse_override_refuses() -> None:
    for text in ("critic.width", "=3", "  =3", ""):
        with pytest.raises(ConfigError, match="is not of the form SECTION"):
            parse_override(text)


FAULTS = {
    "[critic]\nwidht = 3": r'my.toml: critic.widht: there is no such field; did you mean "width"\?',
    "[critik]\nwidth = 3": r'my.toml: critik: there is no such field; did you mean "critic"\?',
    "[objective.penalties.new]\nwieght = 3": r'penalties.new.wieght: there is no such field; did you mean "weight"\?',
    "[objective.penalties.r1]\nevery = 0": "objective.penalties.r1.every: 0 cannot be used; .* greater than or equal to 1",
    '[critic]\nwidth = "wide"': "critic.width: 'wide' cannot be used; it must be a valid integer",
    "[critic]\nwidth = 3": "critic.width: 3 cannot be used; it must be greater than or equal to 4",
    "[train]\nimages = -5": 'train.images: -5 cannot be used; it must be greater than 0, or "auto"',
    "[train]\nseed = 9223372036854775808": "train.seed: 9223372036854775808 cannot be used; it must be less than",
    "[train]\nseed = 0x" + "f" * 6000: "train.seed: this number cannot be used",
    "[train]\nseed = " + "9" * 5000: "my.toml: is not a valid configuration",
    "[optimizer.critic]\nlr = nan": "optimizer.critic.lr: nan cannot be used",
    "[optimizer.critic]\nlr = 1e999": "optimizer.critic.lr: inf cannot be used; it must be a finite number",
    "[optimizer.critic]\nbetas = [0.5]": r"optimizer.critic.betas\[1\]: ",
    "[optimizer.critic]\nbetas = [0.5, 2.0]": r"optimizer.critic.betas\[1\]: 2.0 cannot be used; it must be less than 1",
    '[generator]\nkind = "dcgann"': r'generator.kind: there is no "dcgann"; did you mean "dcgan"\?',
    "[generator]\nkind = 5": 'generator.kind: there is no "5"; choose one of: channels, custom, dcgan, resnet, stack, unet, upsampling',
    '[objective]\nkind = ["wgan"]': "objective.kind: there is no ",
    '[data]\nfit = "covers"': r"data.fit: 'covers' is not one of its values; did you mean \"cover\"\?",
    '[data]\nfit = "%s"' % ("x" * 100_000): r"data.fit: 'xxx+\.\.\. is not one of its values",
    "train = 3": "train: is a section and cannot be 3; name one of its fields",
    "objective.penalties.r1 = true": "objective.penalties.r1: is a section and cannot be True",
    "[train]\nbatch = 4\nbatch = 5": r"is not valid TOML: .*\(at (line 3|end of document)",
    "[train]\nbatch = \n": r"is not valid TOML: Invalid value \(at line 2, column 9\); fix that line",
    "a = " + "[" * 100_000: "my.toml: is not a valid configuration",
    ".".join(["a"] * 5000) + " = 1": "nested too deeply|no such field",
    "x" * 100_000 + " = 1": r"xxx\.\.\.: there is no such field",
}


@pytest.mark.parametrize("text", FAULTS, ids=lambda t: t[:40])
def test_error_texts(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_text(tmp_path, text)
    message = str(caught.value)
    assert re.search(FAULTS[text], message), message
    assert caught.value.exit_code == 2 and message.isprintable() and len(message) < 600 + len(str(tmp_path))


def test_override_errors_name_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"^--set critic\.width: 3 cannot be used"):
        resolve(overrides={"critic.width": 3})
    with pytest.raises(ConfigError, match=r'^--set critic\.with: there is no such field; did you mean "critic\.width"'):
        resolve(overrides={"critic.with": 3})
    with pytest.raises(
        ConfigError, match=r'^--set critc\.width: there is no section critc; did you mean "critic\.width"'
    ):
        resolve(overrides={"critc.width": 3})
    with pytest.raises(
        ConfigError, match=r"^--set zzz\.b: there is no section zzz; choose one of: critic, cycle, data, ema"
    ):
        resolve(overrides={"zzz.b": 1})
    for name in (".", "a..b", "train.seed.deeper", ".".join("a" * 9999)):
        with pytest.raises(ConfigError):
            resolve(overrides={name: 1})


def test_invalid_files(tmp_path: Path) -> None:
    assert from_text(tmp_path, b"\xef\xbb\xbf[train]\r\nseed = 4\r\n").train.seed == 4, "a BOM is no fault"
    assert from_text(tmp_path, "") == resolve()
    for data, message in ((bytes(range(256)), "not a text file"), (b"#" * 2_000_000, "over 1 MB")):
        with pytest.raises(ConfigError, match=message):
            from_text(tmp_path, data)
    for path in (tmp_path, tmp_path / "none", Path("a\0b"), Path("x" * 300)):
        started_s = time.perf_counter()
        with pytest.raises(ConfigError, match=r"cannot be read|is not a valid configuration"):
            resolve(file=path)
        assert time.perf_counter() - started_s < 1


def test_fuzz(tmp_path: Path) -> None:
    rng, good, fine = random.Random(20), to_toml(Config()), 0
    words = ["nan", "-1", "[[", "1e999", '"x"', "true", "kind", "=", "\n", "[objective]", "{}", "\0", "0x" + "f" * 999]
    for _ in range(600):
        text = good
        for _ in range(rng.randint(1, 3)):
            a, b = sorted(rng.randrange(len(text)) for _ in range(2))
            b = min(b, a + rng.choice([0, 1, 4, 40]))
            text = text[:a] + rng.choice([*words, chr(rng.randrange(1, 0x300)), ""]) + text[b:]
        try:
            fine += isinstance(from_text(tmp_path, text), Config)
        except ConfigError as error:
            assert str(error).isprintable() and str(error).startswith(str(tmp_path)), text
    assert 3 < fine < 597, "both outcomes are met"


def sections(kind: Any = Config, seen: set[type[BaseModel]] | None = None) -> set[type[BaseModel]]:
    seen = set() if seen is None else seen
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
        seen.add(kind)
        for field in kind.model_fields.values():
            sections(field.annotation, seen)
    for part in typing.get_args(kind):
        sections(part, seen)
    return seen


def test_every_field_is_described() -> None:
    found = sections()
    assert len(found) > 35, "the walk reaches the variants"
    for section in found:
        assert section.__doc__ and section.__doc__.endswith("."), section
        assert section.model_config["frozen"] and section.model_config["extra"] == "forbid"
        for name, field in section.model_fields.items():
            if name != "kind":
                assert field.description and field.description[-1] in ".)", f"{section.__name__}.{name}"


@given(st.integers(8, 1024), st.integers(8, 1024))
@settings(max_examples=30, deadline=None)
def test_sizes(height: int, width: int) -> None:
    def size(value: object) -> str:
        return resolve(overrides={"data.size": value}).data.size

    assert size(height) == size(str(height)) == size(f"{height}x{height}") == str(height)
    shortest = size(f"{height}x{width}")
    assert shortest == (str(height) if height == width else f"{height}x{width}")
    assert parse_size(shortest) == (height, width)


def test_sizes_refused() -> None:
    for value in (7, 1025, "7x64", "64x", "x64", "64x64x3", "64 x 64", "٦٤", "64\n", "", True, 64.5, [64, 64]):
        with pytest.raises(ConfigError, match=r"--set data\.size: .* cannot be used"):
            resolve(overrides={"data.size": value})


def test_fractions() -> None:
    for value, share in (("1%", 0.01), (" 2.5 % ", 0.025), (0.5, 0.5), (0, 0.0), ("100%", 1.0)):
        assert resolve(overrides={"data.max_bad": value}).data.max_bad == share
    with pytest.raises(ConfigError, match=r"it may mean 1% or all of them; write 1% or 100%"):
        resolve(overrides={"data.max_bad": "1"})
