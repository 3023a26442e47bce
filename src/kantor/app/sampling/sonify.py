"""Images as sound files."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import wave
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.app.output_paths import distinct_name, require_free_files
from kantor.app.sampling.options import SonifyOptions
from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.packing.scan import is_bad
from kantor.data.reasons import Undecodable
from kantor.data.sources import names
from kantor.data.sources.folder import Folder
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError
from kantor.progress import Progress
from kantor.runs import directory
from kantor.sample.sound import CHANNELS, RATE, sonify
from kantor.sample.sound_file import require_sound, sound_bytes
from kantor.types import ImageSpec

DEFAULT_COUNT = 8
SPEECH_TIMEOUT_S = 10.0
_LONGEST_SPEECH_S = 60
_MAX_NOTES = 5
_SENTENCES = {
    "colour": "{}, colour scan. Top left to bottom right.",
    "gray": "{}, grey scan. Top left to bottom right.",
    "stacked": "{}, all rows at once. Left to right.",
}
ImageOrRejected = NDArray[np.uint8] | Rejected


def make_sounds(options: SonifyOptions, progress: Progress) -> tuple[int, list[str]]:
    """Makes a sound of each image and writes them; returns the number of sounds, and notes for the user.

    Raises:
        DataError: there are no images, or none that can be read. ModelError: there is no such model.
    """
    require_sound(options.format)
    stems, images = _generated(options) if _is_model(options) else _read_images(options)
    paths = [options.out / f"{stem}.{options.format}" for stem in stems]
    require_free_files(paths, options.overwrite)
    voice, rejected = Voice(), list[Rejected]()
    for done, (path, image) in enumerate(zip(paths, images, strict=True)):
        if isinstance(image, Rejected):
            rejected.append(image)
        else:
            title = _SENTENCES[options.mode].format(_spoken_name(path))
            spoken = voice.say([title, *(CHANNELS if options.mode == "colour" else ())])
            samples = sonify(image, options.mode, options.resolution, title, spoken)
            atomic.make_folder(path.parent)
            atomic.write_bytes(path, sound_bytes(samples, options.format))
        progress(done + 1, len(paths), len(rejected))
    if len(rejected) == len(paths):
        examples = ", ".join(f"{file.name} ({file.reason})" for file in rejected[:2])
        more = ", ..." if len(rejected) > 2 else ""
        if Path(options.source).is_file():
            raise DataError(options.source, str(rejected[0].reason), "name an image, a folder of images, or a run")
        raise DataError(options.source, f"none of its images can be read: {examples}{more}", "fix or replace them")
    bad = [file for file in rejected if is_bad(file)]  # the others are readmes and the like
    notes = [f"rejected: {file.name} ({file.reason})" for file in bad[:_MAX_NOTES]]
    notes += [f"rejected: {len(bad) - _MAX_NOTES} more"] if len(bad) > _MAX_NOTES else []
    return len(paths) - len(rejected), notes + ([voice.note] if voice.note else [])


def _is_model(options: SonifyOptions) -> bool:
    """Whether the source names a model, not images. `fish` is a run if there is one of this name; `fish/` a folder."""
    text, path = options.source, Path(options.source)
    try:
        if path.is_file():
            return path.suffix == ".safetensors"
        a_run = (path / directory.CONFIG).is_file() or directory.names_a_run(text, options.runs)
        if path.is_dir():
            return a_run or directory.is_checkpoint(path)
        if names.extension(text) in names.images(1) and not a_run:
            raise DataError(text, "is not a regular file" if path.exists() else "does not exist", "check the path")
    except OSError as error:
        raise DataError(text, f"cannot be read ({error.strerror})", "check the path") from error
    return True


def _generated(options: SonifyOptions) -> tuple[list[str], Iterator[ImageOrRejected]]:
    """Images of a generator from seeds 0, 1, 2 ..., and file names without suffix."""
    from kantor.app.class_names import class_numbers
    from kantor.app.load_model import load_generator
    from kantor.sample.generate import generate_one_by_one

    network, card, _ = load_generator(options.source, options.runs, device="auto")
    seeds = range(options.count or DEFAULT_COUNT)
    labels = class_numbers((), card, seeds)
    return [f"seed-{seed:08d}" for seed in seeds], generate_one_by_one(network, card.latents(seeds), labels)


def _read_images(options: SonifyOptions) -> tuple[list[str], Iterator[ImageOrRejected]]:
    """An image, or those of a folder, and file names of their sounds without suffix."""
    path = Path(options.source)
    if path.is_file():
        folder, entries = Folder(str(path.parent), "none"), list[Item | Rejected]([Item(path.name, 0)])
    else:
        folder = Folder(options.source, "none")
        entries = [entry for entry in folder.items() if isinstance(entry, Item) or is_bad(entry)]
        entries = entries[: options.count]
    square = ImageSpec(options.resolution, options.resolution, 3)
    settings = DecodeSettings(square, fit="stretch", background=(0, 0, 0), min_size=1)

    def read() -> Iterator[ImageOrRejected]:
        for entry in entries:
            try:
                yield entry if isinstance(entry, Rejected) else decode(folder.load(entry), settings)[0]
            except Undecodable as error:
                yield Rejected(entry.name, error.reason)

    return _stems([entry.name for entry in entries]), read()


def _stems(files: Sequence[str]) -> list[str]:
    """File names without suffix; with it if two would be equal: a.png and a.jpg, or A.png and a.png."""
    short = [str(Path(file).with_suffix("")) if names.extension(file) else file for file in files]
    counts = Counter(stem.casefold() for stem in short)
    taken, stems = set[str](), list[str]()
    for file, stem in zip(files, short, strict=True):
        base = file if counts[stem.casefold()] > 1 else stem
        stems.append(distinct_name(base, taken))
    return stems


def _spoken_name(path: Path) -> str:
    """A file name as words without punctuation, which espeak might interpret: "fish/seed-00000003.wav" is "seed 3"."""
    words = re.sub(r"[\W_]+", " ", path.stem).strip()[:100]
    return re.sub(r"\b0+(?=\d)", "", words) or "picture"


class Voice:
    """Speaks with espeak-ng, if it is installed. Stays silent after a failure.

    Attributes:
        note: why it is silent, or "".
    """

    def __init__(self) -> None:
        self._program = shutil.which("espeak-ng") or shutil.which("espeak")
        self._channels: dict[str, NDArray[np.float32]] = {}
        self.note = "" if self._program else "no spoken headers: espeak-ng is not installed"

    def say(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Speech of each text that can be spoken: float32 [N] in [-1, 1] at RATE."""
        spoken = {text: self._channels[text] for text in texts if text in self._channels}
        for text in texts:
            if text in spoken or self.note or not self._program:
                continue
            try:
                spoken[text] = _speech(self._program, text)
                continue
            except subprocess.TimeoutExpired:
                why = f"took more than {SPEECH_TIMEOUT_S:g} s"
            except subprocess.CalledProcessError as error:
                why = f"failed (exit code {error.returncode})"
            except OSError as error:
                why = f"failed ({error.strerror or 'cannot be run'})"
            except (wave.Error, EOFError, ValueError) as error:
                why = f"failed ({str(error) or 'no sound'})"
            self.note = f"no spoken headers: {Path(self._program).name} {why}"
        self._channels = {text: speech for text, speech in spoken.items() if text in CHANNELS}  # a title is spoken once
        return spoken


def _speech(program: str, text: str) -> NDArray[np.float32]:
    """Speech from a program like espeak: float32 [N] at RATE."""
    command = [program, "--stdout", "-v", "en", "-s", "220", "--", text]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SPEECH_TIMEOUT_S, check=True)
    with wave.open(io.BytesIO(done.stdout)) as file:
        rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        # the header of a pipe has no valid length
        data = file.readframes(min(file.getnframes(), _LONGEST_SPEECH_S * rate))
    if width not in (1, 2) or not 1000 <= rate <= 200_000:
        raise ValueError(f"{8 * width} bits at {rate} Hz")
    data = data[: len(data) // (width * channels) * width * channels]
    numbers = np.frombuffer(data, np.uint8 if width == 1 else "<i2").astype(np.float32)
    samples = (numbers - 128) / 128 if width == 1 else numbers / 32768
    samples = np.asarray(samples.reshape(-1, channels).mean(axis=1))
    if not len(samples):
        raise ValueError("no sound")
    times = np.arange(len(samples) * RATE // rate) * (rate / RATE)
    return np.asarray(np.interp(times, np.arange(len(samples)), samples), np.float32)
