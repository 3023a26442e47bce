"""`kantor evaluate` as users call it: models, folders, arrays; files; errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import kantor
from kantor.app.evaluation import features, image_sets
from kantor.app.evaluation.image_sets import RealImages, choose_images, extract_features, sample_labels
from kantor.app.evaluation.options import feature_names
from kantor.data.loading.store import Store
from kantor.data.sources.glyphs import Glyphs, render
from kantor.metrics import extractors
from kantor.metrics.features import Activations, Extractor
from kantor.metrics.score import Scores
from kantor.types import ImageSpec
from support.commands import TINY, exit_of

FAST = ["--features", "random", "--count", "60"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs "plain" (with images held out) and "classes", in a folder with a cache."""
    home = tmp_path_factory.mktemp("evaluate")
    words = [*TINY, "--set", "data.glyphs.count=200", "--images", 100]
    words += ["--runs", home / "runs", "--cache", home / "cache"]
    assert exit_of("train", *words, "--set", "data.holdout=20%", "--name", "plain") == 0
    assert exit_of("train", *words, "--conditional", "--name", "classes") == 0
    return home


@pytest.fixture(autouse=True)
def _here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KANTOR_CACHE", str(home / "cache"))
    (tmp_path / "runs").symlink_to(home / "runs")
    few = lambda count, *more, **named: Glyphs(min(count, 500), *more, **named)  # noqa: E731 - 20,000 take long to pack
    monkeypatch.setattr("kantor.data.sources.recognise.Glyphs", few)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of glyphs as PNG, 20x24."""
    source = Glyphs(100, 3)
    for name, indices in (("a", range(40)), ("b", range(40, 100))):
        (tmp_path / name).mkdir()
        for i in indices:
            Image.fromarray(render(source.parameters(i), 24, 20)).save(tmp_path / name / f"{i}.png")
    return tmp_path / "a", tmp_path / "b"


def into_classes(folder: Path) -> None:
    """Moves its images into two subfolders, alternately."""
    for i, path in enumerate(sorted(folder.iterdir())):
        (folder / f"class{i % 2}").mkdir(exist_ok=True)
        path.rename(folder / f"class{i % 2}" / path.name)


def evaluated(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    capsys.readouterr()
    assert exit_of("evaluate", *words, "--json") == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    return json.loads(out)  # type: ignore[no-any-return]


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    capsys.readouterr()
    assert exit_of("evaluate", *words) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ") and len(err.splitlines()) == 1
    return err


@pytest.mark.real_figures
def test_run_against_its_training_set(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> None:
    assert exit_of("evaluate", "plain", *FAST, "--out", "o") == 0
    out = capsys.readouterr().out
    for words in ("00000-plain at 100 images: 60 generated", "fd@random", "precision@random", "held_out_gap@critic",
                  "copied@pixels", "95% interval", "lower is better", "distances.png to o"):  # fmt: skip
        assert words in out
    found = json.loads((tmp_path / "o" / "scores.json").read_text())
    told = found["provenance"]
    assert (
        told["reference_part"] == "training" and told["drawn"] == told["reals"] == 60 and told["images"] == "16x16 RGB"
    )
    assert Image.open(tmp_path / "o" / "neighbours.png").width > 16 * 9
    assert Image.open(tmp_path / "o" / "distances.png").size == (1400, 728)


def test_all_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluated(capsys, "plain", "--count", 60, "--metrics", "all", "--out", "all")["metrics"]
    kinds = {name.partition("@")[0] for name in found}
    assert kinds == {
        "fd", "mind", "clipped_density", "clipped_coverage", "kid", "is", "precision", "recall", "density", "coverage", "swd", "msssim", "copied", "copying_z",
        "modes", "modes_kl", "w2", "sinkhorn", "critic_t", "critic_effect", "held_out_gap",
    }  # fmt: skip
    assert found["modes@kantor-small"]["of"] == 432
    for name, one in found.items():
        assert one["value"] is not None, name
        if "interval" in one:
            assert one["interval"][0] <= one["interval"][1], name


def test_several_networks(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plain", "--count", 60, "--metrics", "fd,mind,cdc,swd,nn"]
    both = evaluated(capsys, *words, "--features", "random,kantor-small", "--out", "both")
    alone = [evaluated(capsys, *words, "--features", name, "--out", name) for name in ("random", "kantor-small")]
    assert both["metrics"] == {**alone[0]["metrics"], **alone[1]["metrics"]}
    more = both["provenance"].pop("more_features")
    assert both["provenance"] == alone[0]["provenance"]
    assert {**both["provenance"], "extractor": "kantor-small", **more["kantor-small"]} == alone[1]["provenance"]
    for name in ("random", "kantor-small"):  # what both have is compared
        found = evaluated(capsys, *words, "--features", "kantor-small,random", "--compare", "both/scores.json")
        assert found["disagreement"] is None and found["comparison"][f"fd@{name}"]["difference"] == 0
    assert exit_of("evaluate", *words, "--features", "random,kantor-small", "--compare", "random/scores.json") == 0
    out = capsys.readouterr().out
    assert "features: kantor-small (bicubic, antialiased to 32x32) of 60 and 60 images" in out
    assert out.index("fd@random") < out.index("fd@kantor-small") < out.index("mind@random")
    scores = kantor.evaluate("plain", features=["random", "kantor-small"], metrics=["fd"], count=60)
    assert scores["fd"] == scores["fd@random"] != scores["fd@kantor-small"]


def test_features_that_disagree_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["plain", "--count", 60, "--metrics", "fd", "--features", "random,kantor-small"]
    evaluated(capsys, *words, "--out", "now")
    data = json.loads((tmp_path / "now" / "scores.json").read_text())
    for name, factor in (("fd@random", 9), ("fd@kantor-small", 0.1)):
        score = data["metrics"][name]
        score.update(value=score["value"] * factor, interval=[end * factor for end in score["interval"]])
    (tmp_path / "before.json").write_text(json.dumps(data))
    line = "features disagree: fd@random got better, fd@kantor-small got worse"
    assert evaluated(capsys, *words, "--compare", "before.json")["disagreement"].startswith(line)
    assert exit_of("evaluate", *words, "--compare", "before.json") == 0
    assert f"\n{line}" in capsys.readouterr().out


def test_second_opinion_where_it_is_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "available", lambda name: True)
    monkeypatch.setattr(features, "SECOND", "random")
    monkeypatch.setattr(features, "SECOND_COUNT", 40)
    found = evaluated(capsys, "plain", "--count", 60, "--metrics", "fd,cdc,pr")
    fewer = evaluated(capsys, "plain", "--count", 40, "--metrics", "fd,cdc", "--features", "random")
    assert {name for name in found["metrics"] if name.endswith("@random")} == {*fewer["metrics"]}
    assert found["metrics"]["fd@random"] == fewer["metrics"]["fd@random"]
    told = found["provenance"]
    assert told["drawn"] == 60 and told["extractor"] == "kantor-small"
    assert told["more_features"]["random"]["drawn"] == told["more_features"]["random"]["reals"] == 40
    assert "more_features" not in evaluated(capsys, "plain", "--count", 60, "--metrics", "pr")["provenance"]
    for count in (60, 40):  # also where it saw as many images: the file asks for no more of it than was measured
        evaluated(capsys, "plain", "--count", count, "--metrics", "fd,pr", "--out", f"of-{count}")
        again = evaluated(capsys, "plain", "--compare", f"of-{count}/scores.json")
        assert again["metrics"].keys() == again["comparison"].keys() >= {"fd@random", "precision@kantor-small"}


def test_where_the_second_opinion_is_missing_one_line_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "available", lambda name: False)
    for words, notes in ((["--metrics", "fd,mind"], 1), (["--metrics", "pr"], 0), ([*FAST[:2], "--metrics", "fd"], 0)):
        assert exit_of("evaluate", "plain", "--count", 60, *words) == 0
        assert capsys.readouterr().out.count("for a second opinion: pip install 'kantor[imagenet]'") == notes


def test_a_second_opinion_that_cannot_be_read_is_a_note(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "available", lambda name: True)
    monkeypatch.setattr(features, "SECOND", "inception:/no/a.pth")
    assert exit_of("evaluate", "plain", "--count", 60, "--metrics", "fd") == 0
    out = capsys.readouterr().out
    assert "/no/a.pth" in out and "; one network alone judges these images" in out and "fd@kantor-small" in out
    assert exit_of("evaluate", "plain", "--count", 60, "--metrics", "fd", "--features", "inception:/no/a.pth") != 0


def test_lists_of_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feature_names("random, kantor-small,random") == ["random", "kantor-small"]
    assert feature_names(["lite0@96"]) == ["lite0@96"]
    (tmp_path / "a,b.pth").touch()
    assert feature_names(f"inception:{tmp_path}/a,b.pth") == [f"inception:{tmp_path}/a,b.pth"]
    assert feature_names("inception:/no/a.pth,random") == ["inception:/no/a.pth", "random"]
    assert "names no network; write for example" in refused(capsys, 2, "plain", "--features", ",")
    assert 'did you mean "random"' in refused(capsys, 2, "plain", "--features", "kantor-small,randon")


def test_held_out_set_as_reference(capsys: pytest.CaptureFixture[str]) -> None:
    learnt = evaluated(capsys, "plain", *FAST, "--metrics", "fd")
    held = evaluated(capsys, "plain", *FAST, "--metrics", "fd", "--held-out")
    assert held["provenance"]["reference_part"] == "held out" and held["provenance"]["reals"] < 60
    assert learnt["metrics"] != held["metrics"]
    assert "no images were held out" in refused(capsys, 2, "classes", *FAST, "--held-out")


def test_each_evaluation_of_a_run_is_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(list((home / "runs" / "00001-classes").glob("evaluations/*")))
    first, again = (evaluated(capsys, "classes", *FAST, "--metrics", "kid,pr") for _ in range(2))
    assert first == again
    kept = sorted((home / "runs" / "00001-classes").glob("evaluations/*/scores.json"))
    assert len(kept) == before + 2
    assert Scores.from_json(json.loads(kept[-1].read_text())).as_json() == again


def test_other_seeds_generate_other_images(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    evaluated(capsys, "plain", *FAST, "--metrics", "fd", "--out", "one")
    assert exit_of("evaluate", "plain", *FAST, "--metrics", "fd", "--seed", 1, "--compare", "one/scores.json") == 0
    out = capsys.readouterr().out
    assert "minus scores.json" in out and "no clear difference" in out
    err = refused(
        capsys, 2, "plain", "--features", "random", "--count", 50, "--metrics", "fd", "--compare", "one/scores.json"
    )
    assert "one/scores.json was measured with 60, not 50; leave --count out" in err


def test_folder_against_folder(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = folders
    found = evaluated(capsys, a, "--against", b, "--features", "random", "--metrics", "fd,pr,msssim,nn")
    assert found["provenance"]["images"] == "20x20 RGB"  # the shorter side; they are cut square
    assert (found["provenance"]["drawn"], found["provenance"]["reals"]) == (40, 60)
    same = evaluated(capsys, b, "--against", b, "--features", "random", "--metrics", "fd,nn")
    assert same["metrics"]["fd@random"]["value"] == pytest.approx(0, abs=1e-6)
    assert same["metrics"]["copied@pixels"]["value"] == 1  # each is there


def test_images_of_different_sizes_are_compared_at_the_smaller(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a, _ = folders
    shutil.copytree(a, "large")
    for path in Path("large").iterdir():
        Image.open(path).resize((80, 96)).save(path)
    found = evaluated(capsys, "large", "--against", a, "--features", "random", "--metrics", "fd")
    assert found["provenance"]["images"] == "20x20 RGB"
    other = evaluated(capsys, a, "--against", "large", "--features", "random", "--metrics", "fd", "--size", 16)
    assert other["provenance"]["images"] == "16x16 RGB"


def test_packed_datasets_on_both_sides(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, b = folders
    assert exit_of("pack", b, "--out", "packed", "--size", 32) == 0
    found = evaluated(capsys, "plain", "--against", "packed", *FAST, "--metrics", "fd")  # brought down to 16
    assert found["provenance"]["images"] == "16x16 RGB"
    assert "model" in found["provenance"] and "reference_part" not in found["provenance"]
    assert evaluated(capsys, "packed", "--against", b, *FAST, "--metrics", "fd")["provenance"]["drawn"] == 60


def test_labels_follow_the_frequencies_of_the_dataset() -> None:
    class Few:
        class_names, spec, count = ["b", "a"], (8, 8, 3), 4

        def labels(self, rows: np.ndarray) -> np.ndarray:
            return np.array([0, 0, 0, 1])[rows]

    reals = RealImages(Few(), np.arange(4), ImageSpec(8, 8, 3))  # type: ignore[arg-type]
    found = sample_labels(reals, ("a", "b", "c"), 4000, 0)
    assert found is not None and np.bincount(found, minlength=3) / 4000 == pytest.approx([0.25, 0.75, 0], abs=0.03)
    assert sample_labels(reals, ("x", "y"), 5, 0).tolist() == [0, 1, 0, 1, 0]  # type: ignore[union-attr]
    assert sample_labels(reals, (), 5, 0) is None


def test_msssim_of_a_conditional_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "msssim@pixels" in evaluated(capsys, "classes", *FAST, "--metrics", "fd,msssim")["metrics"]


def test_raw_weights_are_told_from_their_average(capsys: pytest.CaptureFixture[str]) -> None:
    of_average, of_raw = (
        evaluated(capsys, "plain", *FAST, "--metrics", "fd", *more)["provenance"] for more in ([], ["--raw"])
    )
    assert of_raw["raw"] is True and of_raw == of_average | {"raw": True}


def test_too_few_held_out_images(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, "--set", "data.glyphs.count=60", "--images", 20, "--runs", "more", "--set", "data.holdout=2%"]
    assert exit_of("train", *words, "--name", "few") == 0
    assert "were held out of training; hold out 12 or more" in refused(capsys, 2, "more/00000-few", *FAST, "--held-out")


def test_different_held_out_sets_cannot_be_compared(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*TINY, "--set", "data.glyphs.count=200", "--images", 20, "--runs", "more"]
    for share in (30, 60):
        assert exit_of("train", *words, "--set", f"data.holdout={share}%", "--name", f"h{share}") == 0
    fast = ["--features", "random", "--count", 20, "--metrics", "fd", "--held-out"]
    evaluated(capsys, "more/00000-h30", *fast, "--out", "h30")
    assert "measured differently (reference" in refused(
        capsys, 2, "more/00001-h60", *fast, "--compare", "h30/scores.json"
    )


def test_cached_features_depend_on_the_channels(home: Path, tmp_path: Path) -> None:
    store = Store.open(next(path for path in (home / "cache" / "packs").iterdir() if path.is_dir()))
    reals = choose_images(store, 20, store.spec)

    def network(x: torch.Tensor) -> Activations:
        return Activations(x.flatten(1))

    colour, grey = (Extractor("own", "d", network, (8, 8), channels) for channels in (3, 1))
    assert extract_features(reals, colour, cache=tmp_path).features.shape[1] == 192
    assert extract_features(reals, grey, cache=tmp_path).features.shape[1] == 64


def test_classes_of_a_labelled_dataset_are_modes(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = folders
    into_classes(b)
    found = evaluated(capsys, a, "--against", b, "--features", "random", "--metrics", "modes")
    assert found["metrics"]["modes@random"]["of"] == 2 and found["provenance"]["modes"] == "class"


def test_missing_images_are_taken_from_the_cache(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    _, b = folders
    assert exit_of("train", b, *TINY, "--images", 40, "--runs", "more", "--name", "gone") == 0
    run = Path("more/00000-gone")
    before = evaluated(capsys, run, *FAST, "--metrics", "fd")
    b.rename("elsewhere")
    assert evaluated(capsys, run, *FAST, "--metrics", "fd") == before
    Path("elsewhere").rename(b)
    next(b.iterdir()).unlink()
    assert exit_of("evaluate", run, *FAST, "--metrics", "fd") == 0
    assert "has changed since this run was trained (59 images now)" in capsys.readouterr().out


def test_evaluate_from_python(home: Path, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    a, _ = folders
    run = home / "runs" / "00000-plain"
    options: dict[str, Any] = {"features": "random", "count": 60, "metrics": "fd,kid"}
    by_path = kantor.evaluate(run, **options)
    assert by_path["fd"] == kantor.evaluate("plain", **options)["fd"]
    model = kantor.load(run)
    by_model = kantor.evaluate(model, against="glyphs", **options)
    assert by_model.provenance["model"] == "a model in memory" and by_model["kid"].interval is not None
    drawn = model.generate(range(60))
    others = np.stack([np.asarray(Image.open(path).resize((16, 16))) for path in a.iterdir()])
    as_array = kantor.evaluate(drawn, against=others, features="random", metrics=["kid"])
    assert as_array.provenance["drawn"] == 60
    verdicts = {one.verdict for one in by_path.compare(kantor.evaluate(run, seed=3, **options)).values()}
    assert verdicts <= {"better", "worse", "no clear difference"}
    with pytest.raises(kantor.ConfigError, match="--against"):
        kantor.evaluate(model, **options)


def test_generated_images_score_like_their_generator(home: Path, folders: tuple[Path, Path]) -> None:
    """The same images through files give the same scores."""
    run, (_, b) = home / "runs" / "00000-plain", folders
    options: dict[str, Any] = {"features": "random", "count": 60, "metrics": ["fd", "swd", "msssim", "pr"]}
    of_model = kantor.evaluate(run, against=b, **options)
    of_images = kantor.evaluate(kantor.load(run).generate(range(60)), against=b, size=16, **options)
    with pytest.raises(kantor.ConfigError, match="measured differently"):
        of_model.compare(kantor.evaluate(run, against=b, **{**options, "count": 50}))
    assert of_model.compare(of_images)["fd"].difference == 0
    for name, score in of_model.items():
        assert of_images[name] == score


def test_custom_features(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(extractors, "REGISTERED", {})
    kantor.extractor("mean", lambda x: x.mean((2, 3)), size=8, input_range=(0, 1))
    found = kantor.evaluate("plain", features="mean", metrics=["fd"], count=60)
    assert "fd@mean" in found and found.provenance["resize"] == "bicubic, antialiased to 8x8"

    def fails(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such thing")

    kantor.extractor("fails", fails)
    assert "no such thing" in refused(capsys, 2, "plain", "--features", "fails", "--count", 60)


def test_metrics_that_cannot_be_measured_are_skipped_or_rejected(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = folders
    assert exit_of("evaluate", a, "--against", b, "--features", "random") == 0
    out = capsys.readouterr().out
    assert "critic is skipped: there is no critic" in out and "modes is skipped" in out
    assert "add --out DIR" in out
    assert "there is no critic" in refused(capsys, 2, a, "--against", b, "--metrics", "critic")
    assert "modes of these images are unknown" in refused(capsys, 2, a, "--against", b, "--metrics", "modes")
    assert "has no classes" in refused(capsys, 2, a, "--against", b, "--features", "random", "--metrics", "is")


@pytest.mark.parametrize(
    ("code", "words", "message"),
    [
        (2, ("a",), "a: a set of images has no training set to compare with; name real images with --against"),
        (4, ("nothing-here",), "no run of this name in"),
        (3, ("plain", "--against", "nothing-here"), "no such file or folder"),
        (2, ("plain", "--metrics", "fid50k_full"), "use fd"),
        (2, ("plain", "--metrics", ","), "names no metric"),
        (2, ("plain", "--metrics", "x"), "w2, sinkhorn, critic, controls, nn; or all"),
        (2, ("plain", "--features", "inceptoin:x"), "no features of this name"),
        (4, ("plain", "--features", "inception:nothing.pth"), "pt_inception-2015-12-05-6726825d.pth"),
        (2, ("plain", "--size", "64"), "the images to score are 16x16 RGB"),
        (2, ("a", "--against", "b", "--raw"), "a set of images, not a run"),
        (2, ("a", "--against", "b", "--truncation", "0.5"), "a set of images"),
        (2, ("plain", "--count", "5"), "--count 5: too small; use at least 12, for example 2000 or 10k"),
        (2, ("plain", "--count", "many"), "--count"),
        (2, ("plain", "--metrics", "precision"), "use pr"),
        (2, ("plain", "--metrics", "all,fd"), "give 'all' alone"),
        (2, ("a", "--against", "b", "--size", "15", "--metrics", "swd"), "the images have sides of 15 pixels"),
        (2, ("plain", "--held-out", "--against", "glyphs"), "cannot be combined with --against"),
        (3, ("plain", "--compare", "nothing.json"), "cannot be read"),
        (4, ("plain", "--checkpoint", "7"), "no such checkpoint"),
        (2, ("plain", "--out", "a"), "already exists"),
    ],
)
def test_mistakes_give_one_line_errors(
    code: int, words: tuple[str, ...], message: str, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, code, *words)


def test_too_few_images(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = folders
    for path in sorted(a.iterdir())[5:]:
        path.unlink()
    assert "the images to score: 5 are too few" in refused(capsys, 2, a, "--against", b)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "nonsense",
        '{"metrics": {"fd@x": 3}, "provenance": {}}',
        '{"metrics": 3}',
        '{"metrics": {}, "provenance": {"more_features": 3}}',
        '{"metrics": {}, "provenance": {"more_features": {"lite0@96": 3}}}',
    ],
)
def test_compare_with_a_file_without_scores(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.json").write_text(text)
    assert "holds no scores" in refused(capsys, 3, "plain", "--compare", "x.json")


def test_other_files_are_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(capsys, "plain", *FAST, "--metrics", "fd", "--out", "o")
    refused(capsys, 2, "plain", *FAST, "--metrics", "fd", "--out", "o")
    evaluated(capsys, "plain", *FAST, "--metrics", "fd", "--out", "o", "--overwrite")
    Path("o/mine.txt").write_text("x")
    assert "mine.txt" in refused(capsys, 2, "plain", *FAST, "--metrics", "fd", "--out", "o", "--overwrite")


def test_damaged_feature_cache_is_rewritten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = evaluated(capsys, "plain", *FAST, "--metrics", "fd")
    for path in (home / "cache" / "features").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert evaluated(capsys, "plain", *FAST, "--metrics", "fd") == before


def test_sheet_of_generated_images_is_not_scored(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("generate", "plain", "--count", 20, "--out", "drawn") == 0
    found = evaluated(capsys, "drawn", "--against", "glyphs", *FAST, "--metrics", "fd")
    assert found["provenance"]["drawn"] == 20 and found["provenance"]["images"] == "16x16 RGB"


def test_named_reference_is_used_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """So that runs with and without images held out can be compared."""
    fast = ["--features", "random", "--count", 500, "--metrics", "fd", "--against", "glyphs"]
    found = [evaluated(capsys, run, *fast, "--out", run)["provenance"] for run in ("plain", "classes")]
    assert found[0]["reals"] == found[1]["reals"] == 200 and found[0]["reference"] == found[1]["reference"]
    assert exit_of("evaluate", "classes", *fast, "--out", "again", "--compare", "plain/scores.json") == 0  # the run
    assert "no images in it" in refused(capsys, 3, "classes/", *fast)  # the folder


def test_comparison_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(capsys, "plain", *FAST, "--metrics", "fd", "--out", "one")
    found = evaluated(capsys, "plain", *FAST, "--metrics", "fd,kid", "--seed", 2, "--compare", "one/scores.json")
    assert found["comparison"]["fd@random"]["verdict"] in ("better", "worse", "no clear difference")
    assert "give both the same --metrics" in refused(
        capsys, 2, "plain", *FAST, "--metrics", "kid", "--compare", "one/scores.json"
    )


def test_scores_are_read_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluated(capsys, "plain", *FAST, "--metrics", "fd,kid", "--out", "one")
    scores = kantor.Scores.read("one/scores.json")
    assert scores.as_json() == found
    assert [line.split()[0] for line in str(scores).splitlines()] == ["fd@random", "kid@random"]
    with pytest.raises(KeyError, match=r"fdd.*was not measured"):
        scores["fdd"]
    with pytest.raises(kantor.DataError, match="cannot be read"):
        kantor.Scores.read("nothing.json")


def test_sheets_of_generated_classes_are_not_bad_images(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("c1", "c2", "c3"):
        assert exit_of("generate", "plain", "--count", 12, "--out", f"multi/{name}") == 0
    found = evaluated(capsys, "multi", "--against", "glyphs", *FAST, "--metrics", "fd", "--max-bad", "0")
    assert found["provenance"]["drawn"] == 36


def test_runs_with_and_without_labels_can_be_compared(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Except MS-SSIM of pairs within classes with that of any pairs."""
    _, b = folders
    into_classes(b)
    assert exit_of("train", b, *TINY, "--images", 20, "--runs", "more", "--name", "with", "--conditional") == 0
    assert exit_of("train", b, *TINY, "--images", 20, "--runs", "more", "--name", "without", "--labels", "none") == 0
    fast = [*FAST, "--against", b, "--metrics"]
    within = evaluated(capsys, "more/00000-with", *fast, "fd,msssim", "--out", "w")
    assert within["provenance"]["pairs"] == "within classes"
    both = evaluated(capsys, "more/00001-without", *fast, "fd", "--compare", "w/scores.json")
    assert both["comparison"].keys() == {"fd@random"}
    assert "pairs" in refused(capsys, 2, "more/00001-without", *fast, "msssim", "--compare", "w/scores.json")


def test_features_of_each_image_are_extracted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "REGISTERED", {})
    seen: list[int] = []
    real = image_sets.extract

    def counting(batches: Any, network: Any) -> Any:
        found = real(batches, network)
        seen.append(len(found))
        return found

    monkeypatch.setattr(image_sets, "extract", counting)
    kantor.extractor("mean", lambda x: x.mean((2, 3)), size=8)
    options: dict[str, Any] = {"features": "mean", "count": 200}
    kantor.evaluate("plain", metrics="fd", **options)
    assert len(seen) == 2  # reals and drawn ones; none that were held out
    seen.clear()
    kantor.evaluate("plain", metrics="fd,nn", **options)
    assert len(seen) == 3  # those held out too; all that were learnt from are the reals
