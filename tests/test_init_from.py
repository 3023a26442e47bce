"""A new run from the weights of another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import kantor
from commands import exit_of
from kantor.app.init_from import read_weights

TINY: dict[str, Any] = {
    "overrides": {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60, "train.precision": "float32"},
    "batch": 8, "quiet": True, "device": "cpu", "size": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return kantor.train("glyphs", images=80, runs=folder, cache=folder / "cache", **TINY).path


def still(folder: Path, **more: Any) -> Path:
    """A run whose learning rates are next to nothing: what it saves is what it began with."""
    fields = {"optimizer.generator.lr": 1e-30, "optimizer.critic.lr": 1e-30}
    options = {**TINY, "overrides": {**TINY["overrides"], **fields, **more.pop("overrides", {})}, **more}
    return kantor.train("glyphs", images=16, runs=folder, cache=folder / "cache", seed=5, **options).path


def newest(run: Path) -> dict[str, torch.Tensor]:
    return load_file(sorted((run / "checkpoints").iterdir())[-1] / "model.safetensors")


def test_all_weights_are_taken(first: Path, tmp_path: Path) -> None:
    begun = newest(still(tmp_path, init_from=first))
    wanted = newest(first)
    assert begun.keys() == wanted.keys()
    for name, tensor in wanted.items():
        if name.startswith(("generator/", "critic/")):
            torch.testing.assert_close(begun[name], tensor, rtol=0, atol=1e-20)
    other = newest(still(tmp_path))
    assert not torch.equal(other["generator/base.weight"], begun["generator/base.weight"])


def test_a_model_file_gives_a_generator_and_no_critic(first: Path, tmp_path: Path) -> None:
    begun = newest(still(tmp_path, init_from=first / "generator.safetensors"))
    torch.testing.assert_close(begun["generator/base.weight"], newest(first)["average/base.weight"], rtol=0, atol=1e-20)
    plain = newest(still(tmp_path))
    torch.testing.assert_close(begun["critic/score.weight"], plain["critic/score.weight"], rtol=0, atol=1e-20)


def test_another_width_takes_what_fits_and_says_so(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still(tmp_path, init_from=first, overrides={"critic.width": 8}, quiet=False)
    out = capsys.readouterr().out
    assert "generator: took 8 of 8 tensors from" in out
    assert "critic: took 1 of" in out or "critic: took 0 of" in out
    assert "fresh: layers.0.weight" in out


def test_refusals(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "glyphs", "--size", "16", "--images", "16", "--runs", tmp_path / "r", "--cache", tmp_path / "c"]
    few = ["--set", "data.glyphs.count=60"]
    assert exit_of(*words, *few, "--init-from", first, "--set", "generator.width=32") == 4
    assert "not one of its generator's layers fits" in capsys.readouterr().err
    assert exit_of(*words, *few, "--init-from", tmp_path / "nothing") != 0
    assert capsys.readouterr().err.count("\n") == 1
    assert exit_of(*words, *few, "--init-from", tmp_path / "no.safetensors") == 4
    assert not (tmp_path / "r").exists()


def test_killed_before_its_first_save_it_begins_with_the_same(first: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(first, tmp_path / "source"))
    run = still(tmp_path / "runs", init_from=source)
    whole = newest(run)
    shutil.rmtree(run / "checkpoints")
    kantor.train(resume=run, images=24, cache=tmp_path / "runs" / "cache", quiet=True, device="cpu")
    torch.testing.assert_close(newest(run)["critic/score.weight"], whole["critic/score.weight"], rtol=0, atol=1e-20)
    shutil.rmtree(run / "checkpoints")
    changed = sorted((source / "checkpoints").iterdir())
    shutil.rmtree(changed[-1])
    with pytest.raises(kantor.ModelError):
        kantor.train(resume=run, images=24, cache=tmp_path / "runs" / "cache", quiet=True, device="cpu")


def test_the_digest_is_of_the_weights(first: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    assert read_weights(str(copy), tmp_path).digest == read_weights(str(first), tmp_path).digest
    assert (
        read_weights(str(copy / "generator.safetensors"), tmp_path).digest != read_weights(str(first), tmp_path).digest
    )
