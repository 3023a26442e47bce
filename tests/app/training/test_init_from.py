"""A new run from the weights of another."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import kantor
from kantor.app.training.init_from import read_weights
from support.commands import exit_of

TINY: dict[str, Any] = {
    "overrides": {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60, "train.precision": "float32"},
    "batch": 8, "quiet": True, "device": "cpu", "size": 16, "channels": "rgb",
}  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return kantor.train("glyphs", images=80, runs=folder, **TINY).path


def still(folder: Path, **more: Any) -> Path:
    """A run whose learning rates are next to nothing: what it saves is what it began with."""
    fields = {"optimizer.generator.lr": 1e-30, "optimizer.critic.lr": 1e-30}
    options = {**TINY, "overrides": {**TINY["overrides"], **fields, **more.pop("overrides", {})}, **more}
    return kantor.train("glyphs", images=16, runs=folder, seed=5, **options).path


def unsave(run: Path) -> None:
    """As if it had been killed before its first save."""
    for checkpoint in (run / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    (run / "generator.safetensors").unlink()
    lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
    (run / "events.jsonl").write_text("".join(line for line in lines if '"saved"' not in line))


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


@pytest.mark.parametrize("asked", [None, "premultiplied"])
def test_colours_are_as_the_other_model_knows_them(asked: str | None, tmp_path: Path) -> None:
    straight = {**TINY, "channels": "rgba", "overrides": {**TINY["overrides"], "generator.alpha": "straight"}}
    other = kantor.train("glyphs", images=16, runs=tmp_path, **straight).path
    fields = {"generator.alpha": asked} if asked else {}
    new = still(tmp_path, init_from=other, channels="rgba", overrides=fields)
    assert f'alpha = "{asked or "straight"}"' in (new / "config.toml").read_text()


def test_another_width_takes_what_fits_and_says_so(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still(tmp_path, init_from=first, overrides={"critic.width": 8}, quiet=False)
    out = capsys.readouterr().out
    wanted, new = newest(first), newest(still(tmp_path, overrides={"critic.width": 8}))
    sizes = {name: t.numel() for name, t in new.items() if name.startswith("critic/")}
    share = sum(size for name, size in sizes.items() if wanted[name].shape == new[name].shape) / sum(sizes.values())
    assert f"takes 100% of the generator's weights and {int(100 * share)}% of the critic's from" in out
    assert "new in the critic: layers.0.weight" in out
    assert "less than a third of the critic is taken, so much has to be learnt anew: networks of the same kind" in out


def test_the_ema_continues_from_the_other_models(first: Path, tmp_path: Path) -> None:
    """With the warm-up of a new run, the first steps would replace it by the raw weights."""
    wanted, name = newest(first), "average/base.weight"
    apart = (wanted[name] - wanted["generator/base.weight"]).norm()
    run = still(tmp_path, init_from=first)
    assert (newest(run)[name] - wanted[name]).norm() < 0.01 * apart
    assert "warmup = 0.0" in (run / "config.toml").read_text()
    (tmp_path / "mine.toml").write_text("[ema]\nwarmup = 0.3\n")
    assert (
        "warmup = 0.3" in (still(tmp_path, init_from=first, config=tmp_path / "mine.toml") / "config.toml").read_text()
    )
    asked = still(tmp_path, init_from=first, overrides={"ema.warmup": 0.05})
    torch.testing.assert_close(newest(asked)[name], wanted["generator/base.weight"])


def test_the_ema_of_an_extended_preset_is_not_the_users(first: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "painter-lines"\n[data]\nedges = "none"\n')
    run = still(tmp_path, init_from=first, config=tmp_path / "mine.toml")
    assert "warmup = 0.0" in (run / "config.toml").read_text()
    (tmp_path / "mine.toml").write_text('extends = "painter-lines"\n[data]\nedges = "none"\n[ema]\nwarmup = 0.3\n')
    run = still(tmp_path, init_from=first, config=tmp_path / "mine.toml")
    assert "warmup = 0.3" in (run / "config.toml").read_text()


def test_an_ema_without_a_warm_up_needs_none_switched_off(first: Path, tmp_path: Path) -> None:
    run = still(tmp_path, init_from=first, overrides={"ema": {"kind": "per-step", "decay": 0.999}})
    torch.testing.assert_close(newest(run)["average/base.weight"], newest(first)["average/base.weight"])


def test_embeddings_belong_to_their_classes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), np.uint8)
    for names in (("apple", "bear"), ("car", "apple")):
        for i, image in enumerate(images):
            path = tmp_path / names[0] / names[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    options = {**TINY, "images": 16, "runs": tmp_path, "conditional": True}
    one = kantor.train(tmp_path / "apple", **options).path  # type: ignore[arg-type]
    key = "generator/latent.embedding.weight"
    fields = {**TINY["overrides"], "optimizer.generator.lr": 1e-30, "optimizer.critic.lr": 1e-30}
    same, other, plain = (
        kantor.train(tmp_path / folder, **{**options, "init_from": start, "overrides": fields}).path  # type: ignore[arg-type]
        for folder, start in (("apple", one), ("car", one), ("car", None))
    )
    torch.testing.assert_close(newest(same)[key], newest(one)[key])
    torch.testing.assert_close(newest(other)[key], newest(plain)[key])
    torch.testing.assert_close(newest(other)["generator/base.weight"], newest(one)["generator/base.weight"])


def test_an_embedding_alone_does_not_count_as_a_matching_layer(tmp_path: Path) -> None:
    shared = {**TINY, "images": 16, "runs": tmp_path, "conditional": True}
    one = kantor.train("glyphs", **shared).path  # type: ignore[arg-type]
    fields = {**TINY["overrides"], "generator.width": 32}
    with pytest.raises(
        kantor.ModelError, match=r"no layer of its generator matches .*same kind and width: --preset, --slim"
    ):
        kantor.train("glyphs", **{**shared, "init_from": one, "overrides": fields})  # type: ignore[arg-type]


def test_a_damaged_checkpoint_is_named_and_skipped(first: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    last = sorted((copy / "checkpoints").iterdir())[-1]
    shutil.copytree(last, last.with_name("000000999"))
    (last.with_name("000000999") / "model.safetensors").write_bytes(b"short")
    lines: list[str] = []
    assert read_weights(str(copy), tmp_path, lines.append).path == last
    assert len(lines) == 1
    assert "000000999" in lines[0]


def test_refusals(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "glyphs", "--size", "16", "--images", "16", "--runs", tmp_path / "r"]
    few = ["--set", "data.glyphs.count=60"]
    assert exit_of(*words, *few, "--init-from", first, "--set", "generator.width=32") == 4
    assert "no layer of its generator matches" in capsys.readouterr().err
    assert exit_of(*words, *few, "--init-from", tmp_path / "nothing") != 0
    assert capsys.readouterr().err.count("\n") == 1
    assert exit_of(*words, *few, "--init-from", tmp_path / "no.safetensors") == 4
    assert not (tmp_path / "r").exists()


def as_before_its_first_save(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    for name in ("generator.safetensors", "events.jsonl"):
        (run / name).unlink()


def test_killed_before_its_first_save_it_begins_with_the_same(first: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(first, tmp_path / "source"))
    run = still(tmp_path / "runs", init_from=source)
    whole = newest(run)
    as_before_its_first_save(run)
    kantor.train(resume=run, images=24, quiet=True, device="cpu")
    torch.testing.assert_close(newest(run)["critic/score.weight"], whole["critic/score.weight"], rtol=0, atol=1e-20)
    as_before_its_first_save(run)
    changed = sorted((source / "checkpoints").iterdir())
    shutil.rmtree(changed[-1])
    with pytest.raises(kantor.ModelError):
        kantor.train(resume=run, images=24, quiet=True, device="cpu")


def test_the_digest_is_of_the_weights(first: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    assert read_weights(str(copy), tmp_path, print).digest == read_weights(str(first), tmp_path, print).digest
    assert (
        read_weights(str(copy / "generator.safetensors"), tmp_path, print).digest
        != read_weights(str(first), tmp_path, print).digest
    )


SMALL_STACK = """
[data]
size = "16"
channels = "rgb"
[generator]
kind = "stack"
latent_dim = 6
base = [4, 4, 2]
norm = "pixel"
layers = [{ width = 2, upsample = true }, { width = 2, upsample = true }, { kernel = 3 }]
[critic]
kind = "stack"
layers = [{ width = 2, kernel = 3 }, { width = 2, kernel = 4, stride = 2 }]
[train]
precision = "float32"
"""
GROWN_STACK = """
[data]
size = "32"
channels = "rgb"
[generator]
kind = "stack"
latent_dim = 6
base = [4, 4, 2]
norm = "pixel"
layers = [{ width = 2, upsample = true }, { width = 2, upsample = true },
          { width = 2, grown = true }, { width = 2, upsample = true, grown = true }, { kernel = 3 }]
[critic]
kind = "stack"
layers = [{ width = 2, kernel = 3, grown = true }, { width = 2, kernel = 4, stride = 2, grown = true },
          { width = 2, kernel = 4, stride = 2 }]
[train]
precision = "float32"
"""
FADES = r"\.fade_images +100,000 +fading in the layers that the other model lacks; images start out as that model generates them"


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stacks")
    return stack_run(SMALL_STACK, folder)


def stack_run(text: str, folder: Path, **more: Any) -> Path:
    (folder / "mine.toml").write_text(text)
    fields = {"data.glyphs.count": 60, **more.pop("overrides", {})}
    options: dict[str, Any] = {"images": 16, "batch": 8, "quiet": True, "device": "cpu", "overrides": fields, **more}
    return kantor.train("glyphs", runs=folder, config=folder / "mine.toml", **options).path


def test_a_stack_grows_out_of_a_smaller_one(
    small_stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still_rates = {"optimizer.generator.lr": 1e-30, "optimizer.critic.lr": 1e-30}
    run = stack_run(GROWN_STACK, tmp_path, init_from=small_stack, overrides=still_rates, quiet=False)
    out = capsys.readouterr().out
    assert re.search(f"^generator{FADES}", out, re.MULTILINE)
    assert re.search(f"^critic{FADES}", out, re.MULTILINE)
    taken = re.search(r"takes (\d+)% of the generator's weights and (\d+)% of the critic's from", out)
    assert taken and 60 < int(taken[1]) < 90 and 60 < int(taken[2]) < 90
    fresh = "layers.2.conv.weight, layers.2.conv.bias, layers.3.conv.weight, layers.3.conv.bias\n"
    assert f"new in the generator: {fresh}" in out  # the last one's weights go to both
    assert (run / "config.toml").read_text().count("fade_images = 100000") == 2
    old, new = newest(small_stack), newest(run)
    heirs = {
        "generator/base": "generator/base", "generator/layers.1.conv": "generator/layers.1.conv",
        "generator/layers.4.conv": "generator/layers.2.conv", "generator/old_picture.conv": "generator/layers.2.conv",
        "critic/old_first.conv": "critic/layers.0.conv", "critic/layers.2.conv": "critic/layers.1.conv",
        "critic/score": "critic/score",
    }  # fmt: skip
    for here, there in heirs.items():
        for name in ("weight", "bias"):
            torch.testing.assert_close(new[f"{here}.{name}"], old[f"{there}.{name}"], rtol=0, atol=1e-20)
    kantor.train(resume=run, images=32, quiet=True, device="cpu")
    images = kantor.load(run / "generator.safetensors").generate([1, 2, 3])
    assert images.shape == (3, 32, 32, 3)


def test_a_stack_does_not_grow_in_the_middle_of_a_run(small_stack: Path, tmp_path: Path) -> None:
    with pytest.raises(
        kantor.ConfigError, match="--keep-counters: new layers fade in from image 0, and the other run has seen 16"
    ):
        stack_run(GROWN_STACK, tmp_path, init_from=small_stack, keep_counters=True, images=32)
    none = {"generator.fade_images": 0, "critic.fade_images": 0}
    run = stack_run(GROWN_STACK, tmp_path, init_from=small_stack, keep_counters=True, images=32, overrides=none)
    name = "generator/layers.1.conv.weight/exp_avg"
    moments = load_file(sorted((run / "checkpoints").iterdir())[-1] / "optimizer.safetensors")
    assert name in moments


def test_growing_as_asked(small_stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the user says about fading holds; a model file has no critic, which then starts whole; the same again does not fade."""
    model = small_stack / "generator.safetensors"
    told = stack_run(GROWN_STACK, tmp_path, init_from=model, overrides={"generator.fade_images": 500}, quiet=False)
    text = (told / "config.toml").read_text()
    assert "fade_images = 500" in text
    assert "100000" not in text
    (tmp_path / "whole").mkdir()
    none = {"generator.fade_images": 0, "critic.fade_images": 0}
    whole = stack_run(GROWN_STACK, tmp_path / "whole", init_from=small_stack, overrides=none)
    repeated = stack_run((whole / "config.toml").read_text(), tmp_path / "whole")  # says 0 too
    assert newest(repeated).keys() == newest(whole).keys()
    assert not any("fade" in name for name in newest(repeated))
    capsys.readouterr()
    again = stack_run(GROWN_STACK, tmp_path, init_from=told, quiet=False)
    out = capsys.readouterr().out
    assert "faded in" not in out
    assert "takes 100% of the generator's weights" in out
    assert "average/fade" not in newest(again)
