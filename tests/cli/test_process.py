"""The command as a process: what it loads, signals, and an output that nobody reads."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kantor.cli.main import main
from support.commands import TINY
from support.processes import Forked, doctor_on_a_full_disk, read_all

GLYPHS = ["train", "glyphs", *TINY, "--set", "data.glyphs.count=40", "--images", "8"]
KANTOR = [sys.executable, "-m", "kantor.cli.main"]
if script := shutil.which("kantor", path=str(Path(sys.executable).parent)):
    KANTOR = [script]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Commands run in an empty folder and leave the signals as they were."""
    monkeypatch.chdir(tmp_path)
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


def test_help_is_light() -> None:
    code = (
        "import sys\nfrom kantor.cli.main import main\ntry: main(['--help'])\nexcept SystemExit as e: assert not e.code"
    )
    code += "\nprint('heavy:', [m for m in ('torch', 'numpy', 'matplotlib', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    assert "train" in done.stdout


def test_training_and_generating_leave_the_compiler_alone() -> None:
    """torch.optim and `normal_` on the meta device import it: 70 MB and some seconds in every process."""
    small = "'--set', 'generator.width=4', '--set', 'critic.width=4', '--set', 'data.glyphs.count=60', '--size', '16'"
    train = f"'train', 'glyphs', '--images', '64', '--batch', '8', '--conditional', '--device', 'cpu', {small}"
    code = "import sys\nfrom kantor.cli.main import main\n"
    for words in (train, "'generate', 'latest', '--count', '4'"):
        code += f"try: main([{words}])\nexcept SystemExit as e: assert not e.code\n"
    code += "print('heavy:', [m for m in ('torch._dynamo', 'torch._inductor', 'sympy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout


def test_generating_imports_the_generator_alone() -> None:
    """Not what trains, scores, packs or plots."""
    small = "'--set', 'generator.width=4', '--set', 'critic.width=4', '--set', 'data.glyphs.count=60', '--size', '16'"
    train = f"['train', 'glyphs', '--images', '64', '--batch', '8', '--device', 'cpu', {small}]"
    program = "import sys\nfrom kantor.cli.main import main\ntry: main({})\nexcept SystemExit as e: assert not e.code\n"
    subprocess.run([sys.executable, "-c", program.format(train)], capture_output=True, check=True)
    heavy = "kantor.engine.loop", "kantor.metrics", "kantor.data.packing", "kantor.report"
    others = "matplotlib", "scipy", "sympy", "onnxruntime", "tensorboard", "torch._dynamo", "torch._inductor"
    for words in (
        ["generate", "latest", "--count", "4"],
        ["walk", "latest", "--seeds", "1,2", "--frames", "2", "--out", "walk.gif"],
    ):
        code = program.format(words) + f"print('heavy:', [m for m in {heavy + others} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "heavy: []" in done.stdout


def test_nobody_reads_what_we_say() -> None:
    process = subprocess.Popen([*KANTOR, "presets", "default"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read().decode()
    assert process.wait(60) == 0
    assert error == ""


def test_nobody_reads_what_a_training_says() -> None:
    process = Forked(main, GLYPHS)
    os.read(process.stdout.fileno(), 1)
    process.stdout.close()
    error = read_all(process.stderr)
    assert process.wait() == 0
    assert error == ""


def again(*words: str) -> int:
    """The same in this process, which spares the start of another."""
    with pytest.raises(SystemExit) as exit_:
        main(words)
    return int(exit_.value.code or 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(number: signal.Signals, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    """The state is saved, the exit code says so, and the run goes on."""
    words = [*GLYPHS[:-1], "100k", "--set", "train.tick_images=8"]
    process = Forked(main, words)
    began_s = time.monotonic()
    while not (found := list(Path("runs").glob("*/metrics.csv"))) or found[0].read_text().count("\n") < 3:
        assert time.monotonic() - began_s < 60 and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(30)
    assert process.poll() == code
    assert "Traceback" not in error
    (run,) = Path("runs").iterdir()
    (checkpoint,) = (run / "checkpoints").iterdir()
    seen = int(checkpoint.name)
    assert 0 < seen < 100_000
    capfd.readouterr()
    assert again("train", "--resume", "latest", "--images", str(seen + 8)) == 0
    assert f"resumed at {seen:,} images" in capfd.readouterr().out
    assert sorted(path.name for path in (run / "checkpoints").iterdir())[-1] == f"{seen + 8:09d}"
    assert again("train", "--resume", "latest", "--batch", "8") == 2
    assert "train.batch: 4 -> 8" in capfd.readouterr().err


def check_full(code: int | None, error: str) -> None:
    assert code == 5
    assert error.startswith("error: standard output: could not be written")
    assert error.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_result_that_cannot_be_written_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kantor", "presets", "wgan-gp"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    check_full(done.returncode, done.stderr)
    process = Forked(doctor_on_a_full_disk)
    _, error = process.communicate()
    check_full(process.poll(), error)


def test_output_that_was_closed_and_a_folder_that_is_gone(tmp_path: Path) -> None:
    kantor = f"{sys.executable} -m kantor"
    done = subprocess.run(["sh", "-c", f"{kantor} presets >&- 2>&-"], check=False)
    assert done.returncode == 0
    (tmp_path / "gone").mkdir()
    code = f"cd {tmp_path}/gone && rmdir {tmp_path}/gone && {kantor} presets"
    done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "the current folder: has been deleted" in done.stderr
