"""How fast `kantor pack` is, beside an older commit and img2dataset, and what memory a large archive takes.

    python benchmarks/packing.py --data data/packing --out docs/packing.csv [--older SRC] [--peer PYTHON] [--rounds 3] [--only photos,...]

Made images, kept in --data: photos (JPEGs of 2, 5 and 12 megapixels with the spectrum of photographs), progressive
(the same, as the web has them), small (PNGs of 64x64), web (JPEGs of 512x384 in a tar), album (the photos in a tar). Each contestant packs each set to
64x64 as a process of its own, in turn; seconds are those of the whole command. --older names the folder src/ of
another commit. --peer names a Python that has img2dataset: its Resizer is run in two processes over the members of the tar,
as img2dataset does after downloading, and what it encodes is dropped.

rows        peak resident memory of the parent process for tars of 10,000 and of 1,000,000 images of 8x8, with labels
difference  mean absolute difference in grey levels between packed photos and the full decode brought to the same size

A row is written as soon as it is known.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZES = [(1632, 1224), (2592, 1944), (4000, 3000)]
PHOTOS, SMALL, WEB = 144, 20_000, 3_000
HERE = Path(__file__).parent

PACK = "import sys; from kantor.cli.main import main; sys.exit(main())"
MEMORY = """
import re, sys
from pathlib import Path
from kantor.cli.main import main
try:
    main()
finally:  # not ru_maxrss, which counts the process that started this one
    print("peak_mb", int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def photo(rng: np.random.Generator, width: int, height: int, grain: float = 2.0) -> Image.Image:
    """An image whose spectrum falls as that of photographs does. grain: its standard deviation in grey levels."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    planes = []
    for fall in (1.15, 1.6, 1.6):  # colour is smoother than light
        noise = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
        plane = np.fft.irfft2(noise / frequency**fall, (height, width))
        planes.append(plane / plane.std())
    light, warm, cold = planes
    rgb = np.stack([light * 50 + warm * 18, light * 50 - warm * 8 + cold * 6, light * 50 - cold * 20], axis=-1)
    return Image.fromarray(np.clip(rgb + 120 + rng.normal(0, grain, (height, width, 1)), 0, 255).astype(np.uint8))


def make(name: str, path: Path) -> None:
    rng = np.random.default_rng(0)
    part = path.with_name(f"{path.name}.part")
    if name in ("photos", "progressive"):
        part.mkdir(parents=True, exist_ok=True)
        bases = [photo(rng, *SIZES[i % 3]) for i in range(12)]
        for i in range(PHOTOS if name == "photos" else PHOTOS // 2):
            turned = bases[i % 12].transpose(Image.Transpose(i // 12 % 4))
            options = {"quality": (85, 92, 95)[i // 3 % 3], "subsampling": ("4:4:4", "4:2:0")[i % 2]}
            turned.save(part / f"{i:04d}.jpg", **options, progressive=name == "progressive")  # type: ignore[arg-type]
    elif name == "small":
        part.mkdir(parents=True, exist_ok=True)
        for i in range(SMALL):
            if i % 2000 == 0:
                base = photo(rng, 1024, 1024, grain=0)
            x, y = rng.integers(0, 960, 2).tolist()
            base.crop((x, y, x + 64, y + 64)).save(part / f"{i:05d}.png")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(part, "w") as tar:
            if name == "album":
                files = sorted(path.with_name("photos").iterdir())
                members: Iterable[tuple[str, bytes]] = ((file.name, file.read_bytes()) for file in files)
            else:
                members = web(rng) if name == "web" else tiny(rng, int(name))
            for member, data in members:
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    part.rename(path)


def web(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    for i in range(WEB):
        if i % 300 == 0:
            base = photo(rng, 1536, 1152, grain=0)
        x, y = rng.integers(0, (1024, 768)).tolist()
        yield f"{i:06d}.jpg", encoded(base.crop((x, y, x + 512, y + 384)), "JPEG", quality=90)


def tiny(rng: np.random.Generator, count: int) -> Iterator[tuple[str, bytes]]:
    for i in range(count):
        image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        yield f"{i:07d}.png", encoded(image, "PNG", compress_level=1)
        yield f"{i:07d}.cls", str(i % 10).encode()


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pack(src: Path, data: Path, size: int, program: str = PACK) -> tuple[float, float, str]:
    """Seconds of `kantor pack`, of its processors, and what it prints."""
    out = data.parent / "packed"
    subprocess.run(["rm", "-rf", str(out)], check=True)
    before = os.times()
    began_s = time.perf_counter()
    words = ["pack", str(data), "--out", str(out), "--size", str(size), "--cache", str(data.parent / "cache")]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "PYTHONPATH": str(src)},
        capture_output=True,
        text=True,
    )
    spent_s, after = time.perf_counter() - began_s, os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return spent_s, cpu_s, done.stdout


def resize(python: str, data: Path, size: int) -> tuple[float, float]:
    before, began_s = os.times(), time.perf_counter()
    subprocess.run([python, str(HERE / "packing_peer.py"), str(data), str(size)], check=True, capture_output=True)
    after = os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return time.perf_counter() - began_s, cpu_s


def difference(folder: Path) -> tuple[float, float]:
    """Mean over images, and largest of an image, of the mean absolute difference to the full decode."""
    from kantor.data.decoding import decode, formats
    from kantor.types import ImageSpec

    settings = formats.DecodeSettings(ImageSpec(64, 64, 3), rules=2)
    drafted, found = formats._draft, []
    for path in sorted(folder.iterdir())[:36]:
        data = path.read_bytes()
        packed, _ = decode.decode(data, settings)
        formats._draft = lambda image, *_, **__: image
        whole, _ = decode.decode(data, settings)
        formats._draft = drafted
        found.append(float(np.abs(packed.astype(int) - whole).mean()))
    return statistics.mean(found), max(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--older", type=Path)
    parser.add_argument("--peer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="photos,progressive,small,web,album,difference,rows")
    args = parser.parse_args()
    src, rows = HERE.parent / "src", []

    def note(**row: Any) -> None:
        rows.append(row)
        print("  ".join(f"{key}={value}" for key, value in row.items()), flush=True)
        with args.out.open("w", newline="") as file:
            fields = ["set", "who", "round", "images", "seconds", "cpu_s", "peak_mb", "difference", "largest"]
            writer = csv.DictWriter(file, fields)
            writer.writeheader()
            writer.writerows(rows)

    for name in args.only.split(","):
        if name == "rows":
            for count in (10_000, 1_000_000):
                path = args.data / str(count)
                if not path.with_suffix(".tar").exists():
                    make(str(count), path.with_suffix(".tar"))
                spent_s, cpu_s, text = pack(src, path.with_suffix(".tar"), 8, MEMORY)
                peak = re.findall(r"peak_mb ([0-9.]+)", text)[0]
                note(
                    set="rows", who="kantor", images=count, seconds=f"{spent_s:.1f}", cpu_s=f"{cpu_s:.1f}", peak_mb=peak
                )
            continue
        path = args.data / ("photos" if name == "difference" else f"{name}.tar" if name in ("web", "album") else name)
        if not path.exists():
            make(path.stem, path)
        if name == "difference":
            mean, largest = difference(path)
            note(set=name, who="kantor", images=36, difference=f"{mean:.3f}", largest=f"{largest:.3f}")
            continue
        count = {"photos": PHOTOS, "progressive": PHOTOS // 2, "small": SMALL, "web": WEB, "album": PHOTOS}[name]
        times: dict[str, list[float]] = {}
        for number in range(args.rounds):
            contestants = {"kantor": lambda path=path: pack(src, path, 64)[:2]}
            if args.older:
                contestants["older"] = lambda path=path: pack(args.older, path, 64)[:2]
            if args.peer and name in ("web", "album"):
                contestants["img2dataset"] = lambda path=path: resize(args.peer, path, 64)
            for who, call in contestants.items():
                spent_s, cpu_s = call()
                times.setdefault(who, []).append(spent_s)
                note(set=name, who=who, round=number, images=count, seconds=f"{spent_s:.2f}", cpu_s=f"{cpu_s:.2f}")
        for who, spent in times.items():
            ratios = [other / own for other, own in zip(spent, times["kantor"], strict=True)]
            print(
                f"{name}: {who} takes {statistics.median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
