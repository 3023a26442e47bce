"""What the seeds' systems draw when they train as long as it takes, slim where a laptop needs it: see docs/seeds.md.

`python benchmarks/seeds.py evidence` trains them one after another, in slices, so that it can be stopped at any time:
called again, it resumes the run that it was in. Variants change the setting that a system's failure is blamed on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rows import kantor, read_rows, write_rows

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TABLE, IMAGES = DOCS / "seeds-evidence.csv", DOCS / "images" / "seeds"
FIELDS = ["name", "preset", "data", "slim", "changes", "images_seen", "generator_steps", "training_s", "threads",
          *(f"{score}_{features}" for features in ("small", "lite0") for score in ("fd", "fd_low", "fd_high", "recall"))]  # fmt: skip
COUNT = 2000
"""Generated images that scores are computed on."""


@dataclass(frozen=True)
class System:
    """A system of a seed, or a variant of it, and how long it trains here.

    Attributes:
        images: real images shown to the critic in all.
        changes: fields that differ from the preset because of the data, or to find what a failure is due to.
        grown_from: system whose weights it starts with.
    """

    name: str
    preset: str
    data: str
    slim: float
    images: int
    changes: Sequence[str] = ()
    grown_from: str = ""


def rate(value: float) -> list[str]:
    """Fields for a constant learning rate of both networks."""
    both = ("generator", "critic")
    return [f"optimizer.{name}.{field}" for name in both for field in (f"lr={value:g}", "schedule.kind=constant")]


WHOLE = ("data.crop=0",)  # faces of 64 pixels have nothing to crop
SYSTEMS = [
    System("mnist64-dcgan", "mnist64-dcgan", "digits", 4, 600_000),
    System("ohmygan-celeba64-dcgan", "ohmygan-celeba64-dcgan", "faces", 4, 600_000),
    System("paper-mnist28-wgan-gp", "paper-mnist28-wgan-gp", "digits", 4, 2_000_000),
    System("painter-wgan-gp", "painter-wgan-gp", "portraits", 4, 600_000, ("data.mirror=true",)),
    System("fish32", "fish32", "faces", 4, 300_000),
    System("mnist64-wgan-gp", "mnist64-wgan-gp", "digits", 8, 1_000_000),
    System("mnist64-wgan", "mnist64-wgan", "digits", 4, 1_000_000),
    System("ohmygan-celeba64-wgan", "ohmygan-celeba64-wgan", "faces", 4, 1_000_000),
    System("celeba64-wgan", "celeba64-wgan", "faces", 8, 600_000, WHOLE),
    System("celeba64-wgan-gp", "celeba64-wgan-gp", "faces", 8, 600_000, WHOLE),
    System("celeba64-dcgan", "celeba64-dcgan", "faces", 8, 200_000, WHOLE),
    System("paper-cifar32-resnet-wgan-gp", "paper-cifar32-resnet-wgan-gp", "faces", 4, 400_000),
    System("colour-wgan128", "colour-wgan128", "portraits", 8, 150_000, ("data.fit=replicate",)),
    System("paper-64-resnet-wgan-gp", "paper-64-resnet-wgan-gp", "faces", 8, 100_000),
    System("fish32, rates of 5e-4", "fish32", "faces", 4, 300_000, rate(5e-4)),
    System("fish64, rates of 5e-4", "fish64", "faces", 4, 60_000,
           (*rate(5e-4), "generator.fade_images=30000", "critic.fade_images=30000"), grown_from="fish32, rates of 5e-4"),
    System("celeba64-wgan-gp, rates of 1e-4", "celeba64-wgan-gp", "faces", 8, 600_000, (*WHOLE, *rate(1e-4))),
    System("celeba64-dcgan, rates of 2e-4", "celeba64-dcgan", "faces", 8, 200_000, (*WHOLE, *rate(2e-4))),
    System("celeba64-wgan, without overdose", "celeba64-wgan", "faces", 8, 600_000, (*WHOLE, "cycle.overdose_steps=5")),
    System("celeba64-wgan, critic without norm", "celeba64-wgan", "faces", 8, 600_000, (*WHOLE, "critic.norm=none")),
    System("celeba64-wgan, clipped to 0.01", "celeba64-wgan", "faces", 8, 600_000,
           (*WHOLE, "objective.constraint.bound=0.01")),
    System("celeba64-wgan, rates of 5e-4", "celeba64-wgan", "faces", 8, 600_000, (*WHOLE, *rate(5e-4))),
    System("mnist64-wgan, rates of 5e-4", "mnist64-wgan", "digits", 4, 500_000, rate(5e-4)),
    System("ohmygan-celeba64-wgan, rates of 5e-4", "ohmygan-celeba64-wgan", "faces", 4, 500_000, rate(5e-4)),
    System("colour-wgan128, rates of 5e-4", "colour-wgan128", "portraits", 8, 75_000,
           ("data.fit=replicate", *rate(5e-4))),
]  # fmt: skip


def evidence(runs: Path, data: Path, only: str, slice_minutes: float, threads: int) -> None:
    """Trains, measures and shows every system that is not in the table yet and whose name is or, if none is, contains `only`."""
    names = [system.name for system in SYSTEMS]
    named = [system for system in SYSTEMS if system.name == only] or [
        system for system in SYSTEMS if only in system.name
    ]
    for system in named:
        if any(row["name"] == system.name for row in read_rows(TABLE)):
            continue
        run = runs / _folder(system.name) / "00000-run"
        for images_seen in _slices(system, run, data, slice_minutes, threads):
            print(f"{time.strftime('%H:%M')} {system.name}: {images_seen:,} of {system.images:,} images", flush=True)
        row = _measured(system, run, data, threads)
        rows = [*read_rows(TABLE), row]  # read only now: another process may have added its own
        write_rows(TABLE, sorted(rows, key=lambda row: names.index(row["name"])), FIELDS)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print(f"Results: {TABLE}")


def _slices(system: System, run: Path, data: Path, minutes: float, threads: int) -> Iterator[int]:
    """Trains to the end, a slice at a time; yields images seen after each."""
    budget = ("--time-budget", f"{minutes:g}m")
    while True:
        if run.exists():
            ticks = read_rows(run / "metrics.csv")
            seen = int(ticks[-1]["images_seen"]) if ticks else 0
            if seen >= system.images:
                return
            if seen:
                yield seen
            kantor("train", "--resume", str(run), *budget, threads=threads)
            continue
        sets = [word for change in system.changes for word in ("--set", change)]
        if system.grown_from:
            sets += ["--init-from", str(run.parents[1] / _folder(system.grown_from) / "00000-run")]
        kantor("train", str(data / system.data), "--preset", system.preset, "--slim", f"{system.slim:g}",
                "--images", str(system.images), *budget, "--runs", str(run.parent), "--name", "run",
                "--metrics", "none", "--compile", *sets, threads=threads)  # fmt: skip


def _measured(system: System, run: Path, data: Path, threads: int) -> dict[str, object]:
    """Its row: lengths, scores by two extractors; and its grid among the images of the docs."""
    rows = read_rows(run / "metrics.csv")
    row: dict[str, object] = {
        "name": system.name, "preset": system.preset, "data": system.data, "slim": system.slim,
        "changes": " ".join(system.changes), "images_seen": rows[-1]["images_seen"], "threads": threads,
        "training_s": round(float(rows[-1]["seconds"])),
    }  # fmt: skip
    state = json.loads(max((run / "checkpoints").iterdir()).joinpath("state.json").read_text())
    row["generator_steps"] = state["counters"]["generator_steps"]
    for short, features in (("small", "kantor-small"), ("lite0", "lite0@96")):
        scores = json.loads(kantor("evaluate", str(run), "--against", str(data / system.data), "--metrics", "fd,pr",
                                    "--features", features, "--count", str(COUNT), "--json", threads=threads))  # fmt: skip
        named = {name.partition("@")[0]: score for name, score in scores["metrics"].items()}
        low, high = named["fd"]["interval"]
        row |= {f"fd_{short}": f"{named['fd']['value']:.4g}", f"recall_{short}": f"{named['recall']['value']:.3f}"}
        row |= {f"fd_low_{short}": f"{low:.4g}", f"fd_high_{short}": f"{high:.4g}"}
    kantor("generate", str(run), "--grid", "8x4", "--gutter", "2", "--out", str(run / "evidence"), "--overwrite",
            threads=threads)  # fmt: skip
    _keep(run / "evidence" / "sheet.png", IMAGES / f"{_folder(system.name)}.png")
    return row


def _keep(sheet: Path, image: Path, widest: int = 560) -> None:
    """Saves a grid at a size for a page."""
    image.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(sheet) as opened:
        small = opened.convert("RGB")
        if small.width > widest:
            small = small.resize((widest, round(small.height * widest / small.width)), Image.Resampling.LANCZOS)
        small.quantize(128).save(image, optimize=True)


def _folder(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")
