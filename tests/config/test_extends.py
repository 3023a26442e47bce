"""`extends`: presets that say only what they change, and files of the user's that name their preset."""

from __future__ import annotations

from pathlib import Path

import pytest

from kantor.config import io
from kantor.config.io import preset_names, preset_text, read_config, read_toml, resolve, to_toml
from kantor.config.objective import GradientClipping
from kantor.config.schema import Config
from kantor.errors import ConfigError


def with_presets(monkeypatch: pytest.MonkeyPatch, folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    monkeypatch.setattr(io, "_PRESETS", folder)


def test_a_chain_of_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = "# first.\n[critic]\nkind = 'dcgan'\nwidth = 8\nnorm = 'layer'\n[train]\nbatch = 4"
    second = "# second.\nextends = 'first'\n[critic]\nkind = 'resnet'\n[train]\nseed = 7"
    third = "# third.\nextends = 'second'\n[train]\nbatch = 6"
    with_presets(monkeypatch, tmp_path, {"first": first, "second": second, "third": third})
    config = resolve("third")
    assert (config.train.batch, config.train.seed) == (6, 7)
    assert config.critic == Config.model_validate({"critic": {"kind": "resnet"}}).critic, "another kind starts afresh"
    assert resolve("second").train.batch == 4


@pytest.mark.parametrize("name", preset_names())
def test_a_printed_preset_is_whole(name: str, tmp_path: Path) -> None:
    """What `kantor presets NAME` prints needs no other preset."""
    (tmp_path / "printed.toml").write_text(preset_text(name))
    tree = read_toml(tmp_path / "printed.toml")
    assert "extends" not in tree
    assert io.layered(Config(), tree, "printed") == resolve(name)
    assert "extends" not in to_toml(resolve(name))


def test_twins_hold_only_their_changes() -> None:
    for name in preset_names():
        if name.endswith("-as-coded"):
            text = io._preset_file(name, "--preset")
            assert f'extends = "{name.removesuffix("-as-coded")}"' in text and len(text.splitlines()) < 30


def test_circles_and_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"one": "extends = 'two'", "two": "extends = 'one'", "lost": "extends = 'on'", "odd": "extends = 3"}
    with_presets(monkeypatch, tmp_path, texts)
    with pytest.raises(ConfigError, match="preset one: extends itself: one > two > one"):
        resolve("one")
    with pytest.raises(
        ConfigError, match='preset lost: extends on: there is no preset of this name; did you mean "one"'
    ):
        resolve("lost")
    with pytest.raises(ConfigError, match="preset odd: extends 3: there is no preset of this name"):
        resolve("odd")


def test_a_file_names_its_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "celeba64-wgan-as-coded"\n[train]\nbatch = 8')
    config = resolve(file=file)
    assert config == resolve("celeba64-wgan-as-coded", overrides={"train.batch": 8})
    assert isinstance(config.objective.constraint, GradientClipping)
    assert resolve("celeba64-wgan-as-coded", file) == config
    assert io.layered(Config(), read_config(file), "x") == config
    with pytest.raises(ConfigError, match=r"--preset wgan: .*mine.toml extends celeba64-wgan-as-coded; leave out"):
        resolve("wgan", file)
    file.write_text('extends = "wgan-pg"')
    for read in (lambda: resolve(file=file), lambda: read_config(file)):
        with pytest.raises(ConfigError, match=r'mine.toml: extends wgan-pg: .*; did you mean "wgan-gp"'):
            read()
