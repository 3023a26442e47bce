"""Run directories as training leaves them, without training: settings, a few rows and events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kantor.config.io import resolve, to_toml
from kantor.runs import directory

PROVENANCE = {
    "scores_version": 1, "extractor": "kantor-small", "extractor_sha256": "ab", "resize": "none", "pictures": "16x16 RGB",
    "drawn": 500, "reals": 500, "reference": "cd",
}  # fmt: skip
HEADER = "attempt,epoch,images_seen,seconds,critic_loss,critic_gap,generator_loss"


def made_run(
    runs: Path,
    name: str = "fish",
    preset: str = "wgan-gp",
    fd: float | None = 10.0,
    seed: int = 0,
    end: str | None = "done",
    images: int = 1000,
    fields: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    env: Mapping[str, Any] | None = None,
) -> Path:
    """A run of 1,000 images whose last FD is `fd`. end: why it ended; None for no last word."""
    sizes = {"data.size": "16", "data.channels": "rgb", "generator.width": 4, "critic.width": 4}
    config = resolve(preset, overrides={**sizes, "train.images": 1000, "train.seed": seed, **(fields or {})})
    words = ["train", "--preset", preset, "--seed", str(seed)]
    about = {"command": words, "data_fingerprint": "f1", "seed": seed, "length_from_budget": False, **(env or {})}
    run = directory.create(runs, name, to_toml(config), about)
    columns = HEADER if fd is None else f"{HEADER},fd@kantor-small"
    rows = [f"0,{seen / 500},{seen},{seen / 100},{5 - seen / 500},{seen / 500},-1" for seen in (images // 2, images)]
    if fd is not None:
        rows = [f"{row},{value}" for row, value in zip(rows, (2 * fd, fd), strict=True)]
    (run / "metrics.csv").write_text("\n".join([columns, *rows, ""]))
    events: list[dict[str, Any]] = [{"event": "started", "images_seen": 0, "resumed": False, "epoch_images": 500}]
    if fd is not None:
        for seen, value in ((images // 2, 2 * fd), (images, fd)):
            scores = {"fd@kantor-small": {"value": value, "interval": [value - 1, value + 1], "reals": 1.0}}
            scores["recall@kantor-small"] = {"value": 0.5, "interval": [0.4, 0.6]}
            origin = {**PROVENANCE, **(provenance or {})}
            events.append({"event": "scored", "images_seen": seen, "scores": scores, "provenance": origin})
            events.append({"event": "best", "images_seen": seen, "name": "fd@kantor-small", "value": value})
    if end is not None:
        events.append({"event": "finished", "images_seen": images, "reason": end})
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    counters = {
        "images_seen": images,
        "critic_steps": images // 64,
        "generator_steps": images // 320,
        "elapsed_s": 10.0,
    }
    checkpoint = run / "checkpoints" / f"{images:09d}"
    checkpoint.mkdir()
    (checkpoint / "state.json").write_text(json.dumps({"counters": counters}))
    return run
