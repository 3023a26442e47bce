"""Runs are renamed, noted and deleted, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from kantor import lock
from kantor.errors import BusyError, ConfigError, ModelError, ResourceError
from kantor.runs import directory, manage
from support.resume_child import train_until
from support.run_results import assert_same, results_of


def create(runs: Path, name: str = "fish") -> Path:
    return directory.create(runs, name, "", {})


def test_a_renamed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    unbroken, _ = train_until(None, "wgan-gp", "float32", tmp_path / "a", tmp_path / "cache")
    run, _ = train_until(2, "wgan-gp", "float32", tmp_path / "b", tmp_path / "cache")
    renamed = manage.rename(run, "other")
    assert renamed.name == "00000-other" and not run.exists()
    resumed, reason = train_until(None, "wgan-gp", "float32", tmp_path / "b", tmp_path / "cache", Path("other"))
    assert (resumed.resolve(), reason) == (renamed, "done")
    assert_same(renamed, results_of(unbroken))


@pytest.mark.parametrize(
    ("new", "what"),
    [
        ("", "is no name"), ("  ", "is no name"), ("latest", "mistaken"), ("17", "mistaken"), ("a b", "use a-b"),
        ("../up", "use up"), ("a/b", "use a-b"), (".hidden", "use hidden"), ("bird", "is the name of 00001-bird"),
        ("00007-x", "keeps its own, 00000"), ("x" * 81, "use x"), ("a\nb", "cannot be the name"), ("---", "with letters"),
    ],
)  # fmt: skip
def test_names_that_are_refused(tmp_path: Path, new: str, what: str) -> None:
    run, _ = create(tmp_path), create(tmp_path, "bird")
    with pytest.raises(ConfigError, match=what) as caught:
        manage.rename(run, new)
    assert str(caught.value).isprintable() and run.exists()


def test_a_run_may_be_renamed_with_its_own_number_and_to_its_own_name(tmp_path: Path) -> None:
    run = create(tmp_path)
    assert manage.rename(run, "fish") == run
    assert manage.rename(run, "00000-ümlaut").name == "00000-ümlaut"


def test_a_run_in_training_is_neither_renamed_nor_deleted(tmp_path: Path) -> None:
    run = create(tmp_path)
    with lock.locked(run):
        for change in (
            lambda: manage.rename(run, "x"),
            lambda: manage.delete(run),
            lambda: manage.to_delete(["0"], tmp_path),
        ):
            with pytest.raises(BusyError, match="in use by process"):
                change()
    assert run.exists()


def test_notes(tmp_path: Path) -> None:
    run = create(tmp_path)
    assert manage.read_note(run) == ""
    manage.write_note(run, " best so far \n")
    assert manage.read_note(run) == "best so far"
    with mock.patch("os.fsync", side_effect=OSError(28, "No space left on device")), pytest.raises(ResourceError):
        manage.write_note(run, "lost")
    assert manage.read_note(run) == "best so far"
    with pytest.raises(ConfigError, match="longer than"):
        manage.write_note(run, "x" * 10_001)
    for _ in range(2):
        manage.write_note(run, "")
    assert not (run / "note.txt").exists()


def test_delete(tmp_path: Path) -> None:
    first, second = create(tmp_path), create(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").touch()
    (first / "samples" / "link").symlink_to(outside, target_is_directory=True)
    manage.delete(first)
    assert (outside / "mine").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [second.name, "outside"]


def test_a_kill_while_deleting_leaves_no_half_of_a_run(tmp_path: Path) -> None:
    run, other = create(tmp_path), create(tmp_path)
    with mock.patch("shutil.rmtree", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        manage.delete(run)
    assert directory.numbered(tmp_path) == [other]
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".deleted-photos").mkdir()
    manage.delete(other)
    assert [entry.name for entry in tmp_path.iterdir()] == [".deleted-photos"], "not of Kantor"


def test_what_cannot_be_deleted_is_said(tmp_path: Path) -> None:
    run = create(tmp_path)
    with mock.patch("shutil.rmtree"), pytest.raises(ResourceError, match="still there"):
        manage.delete(run)


def test_only_runs_that_are_named_in_full_are_deleted(tmp_path: Path) -> None:
    run, twin, bird = create(tmp_path), create(tmp_path), create(tmp_path, "bird")
    (tmp_path / "00009-link").symlink_to(run, target_is_directory=True)
    (tmp_path / "plain").mkdir()
    assert manage.to_delete(["0", "00001-fish", str(bird), "2"], tmp_path) == [run, twin, bird]
    for text, what in {
        "bir": "no run of this name",
        "fish": "is the name of 2 runs; choose by number: 00000-fish, 00001-fish",
        "00009-link": "is a link",
        str(tmp_path / "plain"): "not a run directory",
        "7": "no run of this number",
    }.items():
        with pytest.raises(ModelError, match=what):
            manage.to_delete([text], tmp_path)
    copy = bird.rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="not named like a run"):
        manage.to_delete([str(copy)], tmp_path)


def test_a_lock_is_seen_without_a_trace(tmp_path: Path) -> None:
    run = create(tmp_path)
    assert not lock.is_locked(run) and not (run / "lock").exists()
    with lock.locked(run):
        before = (run / "lock").read_bytes()
        assert lock.is_locked(run) and (run / "lock").read_bytes() == before
    assert not lock.is_locked(run)
    (run / "lock").unlink()
    assert not lock.is_locked(tmp_path / "none")
