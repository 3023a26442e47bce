"""Images as sound: what is heard when, where and how loud, measured in the samples; and the command."""

from __future__ import annotations

import io
import json
import os
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kantor.app.sampling import sonify as job
from kantor.sample.sound import PEAK, RATE, ranks, sonify
from kantor.sample.sound_file import sound_bytes, wav_bytes
from support import nasty
from support.commands import TINY, exit_of

HEADER = 3 * RATE * 8 // 10 + RATE // 2
DOT = 31 * RATE // 1000
STEP = DOT * 4 // 5
ROW = 63 * STEP + DOT
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def black(side: int = 64) -> NDArray[np.uint8]:
    return np.zeros((side, side, 3), np.uint8)


def with_dot(y: int, x: int, colour: tuple[int, int, int] = RED) -> NDArray[np.uint8]:
    image = black()
    image[y, x] = colour
    return image


def heard(data: bytes) -> NDArray[np.float64]:
    """[N, 2] of a WAV file."""
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 2, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32767


def pitch(samples: NDArray[np.floating]) -> float:
    """Of the strongest partial of [N], in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 17))
    return float(spectrum.argmax() * RATE / (1 << 17))


def partial(samples: NDArray[np.floating], hz: float) -> float:
    """Amplitude of a partial of [N]."""
    window = np.hanning(len(samples))
    wheel = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / RATE)
    return float(2 * np.abs((samples * window * wheel).sum()) / window.sum())


def db(ratio: float) -> float:
    return 20 * float(np.log10(ratio))


def angle(samples: NDArray[np.floating]) -> float:
    """Where [N, 2] is heard: 0 left, 1 right."""
    left, right = np.sqrt((samples**2).sum(axis=0))
    return float(np.arctan2(right, left) * 2 / np.pi)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 63), (63, 0), (31, 17), (63, 63)])
def test_a_dot_is_heard_when_and_where_it_is_seen(y: int, x: int) -> None:
    """The difference to a black image is that dot alone, in its place on the clock and between the ears."""
    both = heard(wav_bytes(sonify(with_dot(y, x)))), heard(wav_bytes(sonify(black())))
    assert len(both[0]) == HEADER + ROW + 63 * (ROW // 8)
    alone = both[0] - both[1]
    start = HEADER + y * (ROW // 8) + x * STEP
    places = np.flatnonzero(np.abs(alone).max(axis=1) > 2 / 32767)
    assert start <= places[0] < start + 20 and start + DOT - 20 < places[-1] < start + DOT
    dot = alone[start : start + DOT]
    assert angle(dot) == pytest.approx(x / 63, abs=0.01)
    assert pitch(dot.sum(axis=1)) == pytest.approx(840, abs=5)


def test_two_dots_are_heard_left_and_right() -> None:
    image = black()
    image[10, 2:10], image[40, 54:62] = RED, RED
    sound = heard(wav_bytes(sonify(image)))[HEADER:]
    for y, x in ((10, 2), (40, 54)):
        start = y * (ROW // 8) + x * STEP
        part = sound[start : start + 8 * STEP]
        assert pitch(part.sum(axis=1)) == pytest.approx(840, abs=3)  # one tone, though it is eight dots
        left, right = (partial(part[:, ear], 840) for ear in (0, 1))
        assert np.arctan2(right, left) * 2 / np.pi == pytest.approx((x + 3.5) / 63, abs=0.02)


def test_the_header_ranks_the_colours_by_timbre() -> None:
    """Blue first: a sine. Red second: a triangle, odd partials by their squares. Green third: a sawtooth, all partials."""
    image = black()
    image[:40], image[40:60], image[60:] = BLUE, RED, GREEN
    sound = heard(wav_bytes(sonify(image)))[:HEADER].sum(axis=1)
    red, green, blue = (sound[i * 38400 + 2400 : (i + 1) * 38400 - 2400] for i in range(3))
    for tone, gain, partials in (
        (blue, -12, {2: 0, 3: 0}),
        (red, -12 + db(8 / np.pi**2), {2: 0, 3: 1 / 9, 5: 1 / 25}),
        (green, -24 + db(2 / np.pi), {2: 1 / 2, 3: 1 / 3, 4: 1 / 4}),
    ):
        first = partial(tone, 440)
        assert pitch(tone) == pytest.approx(440, abs=1)
        assert db(first / np.sqrt(2)) == pytest.approx(gain, abs=0.1)
        for number, share in partials.items():
            assert partial(tone, number * 440) / first == pytest.approx(share, abs=0.003)
    assert not sound[-RATE // 2 :].any()


def test_colours_are_called_right_and_ties_are_shared() -> None:
    """Of (red, green, blue), in this order, and not the other way round."""
    for channel, colour in enumerate((RED, GREEN, BLUE)):
        assert ranks(np.full((4, 4, 3), colour))[0] == channel
    assert ranks(np.full((4, 4, 3), 77)) == (0, 1, 2)
    yellow_and_green = np.array([[(255, 255, 0), (255, 255, 0), (0, 255, 0)]])
    assert ranks(yellow_and_green) == (1, 0, 2)


def test_values_are_told_by_level_and_pitch() -> None:
    """A dot at 50.2% of the brightest is int(0.498 * 28) = 13 dB below it, at 400 + 440 * 0.502 Hz."""
    image = with_dot(2, 5)
    image[50, 5] = (128, 0, 0)
    alone = sonify(image) - sonify(black())
    starts = [HEADER + y * (ROW // 8) + 5 * STEP for y in (2, 50)]
    bright, dim = (alone[s : s + DOT, 0] for s in starts)
    assert pitch(dim) == pytest.approx(400 + 440 * 128 / 255.01, abs=12)  # next to it, the black dot that is missing
    full, lone = np.sqrt((bright**2).sum()), np.sqrt((dim**2).sum())
    assert db(lone / full) == pytest.approx(-13, abs=0.5)


def test_a_dark_image_sounds_like_a_bright_one() -> None:
    """What counts is the brightest value of the image."""
    start = HEADER + 5 * (ROW // 8) + 5 * STEP
    bright, dark = (sonify(with_dot(5, 5, (v, 0, 0)))[start : start + DOT, 0] for v in (250, 25))
    assert pitch(dark) == pytest.approx(pitch(bright), abs=1)
    assert partial(dark, 840) == pytest.approx(partial(bright, 840), rel=0.01)


def test_grey_glides_along_the_rows() -> None:
    """Left half white in the upper half of the image, right half white in the lower one."""
    image = np.zeros((64, 64, 1), np.uint8)
    image[:32, :32], image[32:, 32:] = 255, 255
    sound = heard(wav_bytes(sonify(image, "gray")))
    row, apart = RATE // 4, RATE * 3 // 16
    assert len(sound) == row + 63 * apart
    for y, first, second in ((10, 840, 400), (50, 400, 840)):
        quarter = sound[y * apart + row // 4 : y * apart + row * 3 // 4].sum(axis=1)  # alone: no other row overlaps
        half = len(quarter) // 2
        assert pitch(quarter[: half - 200]) == pytest.approx(first, abs=8)
        assert pitch(quarter[half + 200 :]) == pytest.approx(second, abs=8)
        parts = sound[y * apart : y * apart + row]
        loud = parts[: row // 2] if first == 840 else parts[row // 2 :]
        assert angle(loud) == pytest.approx(0.25 if first == 840 else 0.75, abs=0.05)
        quiet = parts[row * 5 // 8 : row * 3 // 4] if first == 840 else parts[row // 4 : row * 3 // 8]
        louder = parts[row // 4 : row * 3 // 8] if first == 840 else parts[row * 5 // 8 : row * 3 // 4]
        ratio = np.sqrt((quiet**2).sum() / (louder**2).sum())
        assert db(ratio) == pytest.approx(-28, abs=0.5)


def test_stacked_rows_sound_at_once() -> None:
    """A white column in a grey image: 124.5 Hz, where the rest has 83 (0.5 + 0.5) Hz."""
    image = np.full((64, 64, 1), 128, np.uint8)
    image[:, 48:] = 255
    sound = heard(wav_bytes(sonify(image, "stacked")))
    assert len(sound) == 4 * RATE + 240
    column = 3000
    for x, hz in ((8, 83 * (128 / 255.01 + 0.5)), (60, 124.5)):
        part = sound[x * column + 240 : (x + 1) * column].sum(axis=1)
        assert pitch(part) == pytest.approx(hz, abs=4)
        assert angle(sound[x * column + 240 : (x + 1) * column]) == pytest.approx(x / 63, abs=0.01)


@pytest.mark.parametrize("mode", ["colour", "gray", "stacked"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 4), (8, 300, 3), (300, 8, 1), (32, 32, 4), (64, 64, 3)])
def test_nothing_clips_or_jumps_and_equal_images_give_equal_bytes(mode: str, shape: tuple[int, int, int]) -> None:
    for image in (
        np.random.default_rng(0).integers(0, 256, shape, np.uint8),
        np.zeros(shape, np.uint8),
        np.full(shape, 255, np.uint8),
    ):
        sound = sonify(image, mode)
        assert sound.dtype == np.float32 and sound.shape[1] == 2
        assert np.isfinite(sound).all() and np.abs(sound).max() <= PEAK + 1e-6
        assert np.abs(sound[[0, -1]]).max() < 0.02  # it starts and ends in silence
        assert wav_bytes(sound) == wav_bytes(sonify(image.copy(), mode))


def test_a_sine_never_jumps() -> None:
    """Between two samples, no more than a sine of 840 Hz can: dots begin and end at nought, rows glide."""
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 1), np.uint8)
    steepest = 2 * np.pi * 840 / RATE * 10 ** (-12 / 20)
    fades = 10 ** (-12 / 20) / 240
    assert np.abs(np.diff(sonify(image, "gray"), axis=0)).max() < 2 * (steepest + fades)


def test_what_is_transparent_is_silent() -> None:
    image = np.zeros((64, 64, 4), np.uint8)
    image[..., :3] = (255, 90, 10)
    hidden = sonify(image)
    np.testing.assert_array_equal(hidden, sonify(black()))
    image[5, 5, 3] = 255
    np.testing.assert_array_equal(sonify(image), sonify(with_dot(5, 5, (255, 90, 10))))


def test_the_resolution_changes_the_dots_not_the_row() -> None:
    sound = sonify(with_dot(0, 0), resolution=16)
    dot = 125 * 48
    row = 15 * (dot * 4 // 5) + dot
    assert len(sound) == HEADER + row + 15 * (row // 8)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 2), (0, 8, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"an image must be"):
        sonify(np.zeros(shape, np.uint8))


def test_other_modes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mode must be one of"):
        sonify(black(), "loud")
    with pytest.raises(ValueError, match=r"resolution 2 or more"):
        sonify(black(), resolution=1)


@pytest.mark.parametrize("kind", ["mp3", "ogg"])
def test_other_files_sound_the_same(kind: str) -> None:
    """A long one too, of which libsndfile's Vorbis is not to get a minute at once."""
    soundfile = pytest.importorskip("soundfile", reason="the extra `sound` is not installed")
    samples = np.tile(sonify(with_dot(3, 3)), (3, 1))
    back, rate = soundfile.read(io.BytesIO(sound_bytes(samples, kind)))
    assert rate == RATE and back.shape[1] == 2
    assert abs(len(back) - len(samples)) < 4000
    tone = back[RATE // 4 : RATE // 2].sum(axis=1)
    assert pitch(tone) == pytest.approx(440, abs=2)
    assert partial(tone, 440) == pytest.approx(np.sqrt(2) * 10 ** (-12 / 20), rel=0.05)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without espeak."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def sounds(folder: str | Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def save(path: str, image: NDArray[np.uint8]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def test_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    save("fish.png", with_dot(20, 60))
    assert exit_of("sonify", "fish.png", "--out", "heard") == 0
    out = capsys.readouterr().out
    assert out == "note: no spoken headers: espeak-ng is not installed\nwrote 1 sound to heard\n"
    assert Path("heard/fish.wav").read_bytes() == wav_bytes(sonify(with_dot(20, 60)))


def test_a_folder_with_names_that_clash_and_broken_images(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("in/a.png", "in/a.bmp", "in/b.png", "in/deep/a.png", "in/A.gif", "in/a.png.png"):
        save(name, with_dot(1, 2))
    Path("in/c.png").write_bytes(nasty.truncated_png())
    Path("in/d.png").write_text("hello")
    Path("in/bomb.png").write_bytes(nasty.bomb_png())
    Path("in/notes.txt").write_text("hello")
    Path("in/README").write_text("hello")
    assert exit_of("sonify", "in", "--out", "heard", "--mode", "gray", "--resolution", "8") == 0
    assert sounds("heard") == [
        "A.gif.wav", "a.bmp.wav", "a.png-2.wav", "a.png.wav", "b.wav", "deep/a.wav",
    ]  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("note: rejected")] == [
        "note: rejected: bomb.png (196000000 pixels are more than the limit of 64 million)",
        f"note: rejected: c.png (truncated at byte {len(nasty.truncated_png())})",
        "note: rejected: d.png (not an image (starts with `hello`))",
    ]
    assert lines[-1] == "wrote 6 sounds to heard"


def test_many_broken_images_take_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    save("in/z.png", black(8))
    for i in range(12):
        Path(f"in/{i}.png").write_bytes(b"")
    assert exit_of("sonify", "in", "--out", "heard", "--mode", "stacked") == 0
    out = capsys.readouterr().out
    assert out.count("note: rejected: ") == 5 + 1 and out.count("note: ") == 5 + 1 + 1
    assert "note: rejected: 7 more" in out


def test_no_more_than_asked_for() -> None:
    for i in range(4):
        save(f"in/{i}.png", black(8))
    assert exit_of("sonify", "in", "--out", "heard", "--count", "2", "--mode", "stacked") == 0
    assert sounds("heard") == ["0.wav", "1.wav"]


@pytest.mark.parametrize("kind", ["rgba.png", "grey16.png", "palette.png", "rotated.jpg", "animated.gif", "cmyk.jpg"])
def test_foreign_images(kind: str) -> None:
    Path(kind).write_bytes(nasty.ODD[kind]())
    assert exit_of("sonify", kind, "--out", "heard") == 0
    assert len(sounds("heard")) == 1


def test_a_rotated_photo_is_heard_upright() -> None:
    """Red on the right: the left ear gets next to no sine."""
    Path("a.jpg").write_bytes(nasty.rotated_jpeg())
    assert exit_of("sonify", "a.jpg", "--out", "heard", "--mode", "gray") == 0
    row = heard(Path("heard/a.wav").read_bytes())[RATE * 3 // 16 * 30 :][3000:9000].sum(axis=1)
    assert pitch(row[:2800]) < pitch(row[3200:])  # blue is darker than red


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere.png", "--out", "o"], 3, "nowhere.png: does not exist; check the path"),
        (["nowhere", "--out", "o"], 4, "no run of this name in"),
        (["7", "--out", "o"], 4, "no run of this number"),
        (["latest", "--out", "o"], 4, "latest: no runs in "),
        (["nowhere.safetensors", "--out", "o"], 4, "does not exist"),
        (["empty", "--out", "o"], 3, "there are no images in it (found: nothing)"),
        (["broken", "--out", "o"], 3, "none of its images can be read: a.png (empty)"),
        (["text.png", "--out", "o"], 3, "text.png: not an image (starts with `hello`)"),
        (["x" * 300, "--out", "o"], 3, "cannot be read"),
        (["pipe.png", "--out", "o"], 3, "is not a regular file"),
        (["a.png", "--out", "there"], 2, "a.wav: already exists; choose another --out, or add --overwrite"),
        (["a.png", "--out", "text.png"], 5, "text.png"),
        (
            ["a.png", "--out", "o", "--mode", "colur"],
            2,
            '--mode colur: is not one of its values; did you mean "colour"?',
        ),
        (["a.png", "--out", "o", "--mode", "gry"], 2, 'did you mean "gray"?'),
        (["a.png", "--out", "o", "--format", "mp4"], 2, 'did you mean "mp3"?'),
        (["a.png", "--out", "o", "--resolution", "1"], 2, "--resolution"),
        (["a.png", "--out", "o", "--count", "0"], 2, "--count"),
        (["a.png"], 2, "--out"),
    ],
)
def test_bad_input(words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", black(8))
    Path("text.png").write_text("hello")
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/a.png").touch()
    Path("there").mkdir()
    Path("there/a.wav").write_bytes(b"mine")
    os.mkfifo("pipe.png")
    before = sorted(map(str, Path().rglob("*")))
    assert exit_of("sonify", *words) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sorted(map(str, Path().rglob("*"))) == before
    assert Path("there/a.wav").read_bytes() == b"mine"


def test_overwrite() -> None:
    save("a.png", black(8))
    Path("o").mkdir()
    Path("o/a.wav").write_bytes(b"old")
    Path("o/b.wav").write_bytes(b"mine")
    assert exit_of("sonify", "a.png", "--out", "o", "--overwrite", "--mode", "stacked") == 0
    assert Path("o/a.wav").read_bytes() == wav_bytes(sonify(black(8), "stacked"))
    assert Path("o/b.wav").read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["mp3", "ogg"])
def test_formats(kind: str) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the extra `sound` is not installed")
    save("a.png", black(8))
    assert exit_of("sonify", "a.png", "--out", "o", "--mode", "stacked", "--format", kind) == 0
    assert soundfile.info(f"o/a.{kind}").samplerate == RATE


def test_formats_without_their_package(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save("a.png", black(8))
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert exit_of("sonify", "a.png", "--out", "o", "--format", "mp3") == 5
    assert "pip install 'kantor[sound]'" in capsys.readouterr().err
    assert exit_of("sonify", "a.png", "--out", "o") == 0


def test_images_of_a_model(tmp_path: Path) -> None:
    """The same that generate draws; a run is known by path, name, number or `latest`, and wins over a folder's name."""
    few = ["--set", "data.glyphs.count=40", "--images", "8", "--name", "letters"]
    assert exit_of("train", "glyphs", *TINY, *few, "--metrics", "none") == 0
    run = next(Path("runs").glob("00000-*"))
    assert exit_of("generate", run, "--count", "3", "--out", "drawn") == 0
    save("letters/a.png", black(8))
    for number, source in enumerate(["latest", "0", "letters", run, run / "generator.safetensors"]):
        assert exit_of("sonify", source, "--count", "3", "--out", f"o{number}", "--mode", "gray") == 0
        assert sounds(f"o{number}") == [f"seed-{i:08d}.wav" for i in range(3)]
    image = np.asarray(Image.open("drawn/seed-00000002.png").convert("RGB"))
    assert Path("o0/seed-00000002.wav").read_bytes() == wav_bytes(sonify(image, "gray"))
    assert exit_of("sonify", "drawn", "--out", "files", "--mode", "gray") == 0
    assert sounds("files") == sounds("o0")
    assert Path("files/seed-00000002.wav").read_bytes() == Path("o0/seed-00000002.wav").read_bytes()
    assert exit_of("sonify", "letters/", "--out", "folder") == 0
    assert sounds("folder") == ["a.wav"]
    assert exit_of("sonify", "latest", "--out", "eight", "--mode", "stacked", "--resolution", "8") == 0
    assert len(sounds("eight")) == 8


# --- speech -------------------------------------------------------------------------------------------------------

SPEAKER = """#!{python} -S
import json, math, struct, sys
with open("said.txt", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
rows = struct.pack("<11025h", *(int(16000 * math.sin(2 * math.pi * 300 * i / 22050)) for i in range(11025)))
head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 0x7FFFF024, b"WAVE", b"fmt ", 16, 1, 1, 22050, 44100, 2, 16, b"data", 0x7FFFF000)
sys.stdout.buffer.write(head + rows)
"""


def speaker(text: str, name: str = "espeak-ng") -> None:
    path = Path("bin") / name
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("name", ["espeak-ng", "espeak"])
def test_speech(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The title and each colour are said from the left, before what they announce; a name is never an option."""
    speaker(SPEAKER.format(python=sys.executable), name)
    for file in ("--version_007[[x]].png", "b.png"):
        save(f"in/{file}", with_dot(9, 9))
    assert exit_of("sonify", "in", "--out", "o") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "wrote 2 sounds to o"  # a busy machine shows its progress first
    said = [json.loads(line) for line in Path("said.txt").read_text().splitlines()]
    assert all(words[-2] == "--" for words in said)
    titles = ["version 7 x, colour scan. Top left to bottom right.", "b, colour scan. Top left to bottom right."]
    assert [words[-1] for words in said] == [titles[0], "Red", "Green", "Blue", titles[1]]  # a colour once
    sound, half = heard(Path("o/b.wav").read_bytes()), RATE // 2
    assert len(sound) == HEADER + ROW + 63 * (ROW // 8) + 4 * half
    tone = RATE * 8 // 10
    for start in (0, half, 2 * half + tone, 3 * half + 2 * tone):
        voice = sound[start : start + half]
        assert pitch(voice[:, 0]) == pytest.approx(300, abs=3)
        assert partial(voice[:, 0], 300) == pytest.approx(16000 / 32768, rel=0.02)
        assert not voice[:, 1].any()
    np.testing.assert_array_equal(sound[2 * half : 2 * half + tone], heard(wav_bytes(sonify(with_dot(9, 9))))[:tone])


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("#!/bin/sh\nexit 3\n", "espeak-ng failed (exit code 3)"),
        ("#!/bin/sh\necho hello\n", "espeak-ng failed ("),
        ("#!/bin/sh\nexit 0\n", "espeak-ng failed (no sound)"),
        ("#!/nowhere/at/all\n", "espeak-ng failed (No such file or directory)"),
        ("#!/bin/sh\nexec /bin/sleep 30\n", "espeak-ng took more than 0.3 s"),
    ],
)
def test_speech_that_fails(
    text: str, note: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One note, and the sounds are those without speech."""
    monkeypatch.setattr(job, "SPEECH_TIMEOUT_S", 0.3)
    speaker(text)
    for name in ("a", "b", "c"):
        save(f"in/{name}.png", black(8))
    assert exit_of("sonify", "in", "--out", "o") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"note: no spoken headers: {note}")
    assert Path("o/b.wav").read_bytes() == wav_bytes(sonify(black(8)))
