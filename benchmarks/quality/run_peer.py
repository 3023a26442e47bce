"""Runs one contestant other than Kantor: python -m quality.run_peer SPEC.json (written by `quality.race`)."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from quality.recorder import Recorder


def _trainer(spec: dict[str, Any], images: np.ndarray) -> Any:
    folder = Path(spec["source"]) if spec["source"] else None
    if spec["name"] == "keras":
        from quality.keras_adapter import KerasTrainer

        assert folder is not None
        return KerasTrainer(images, spec["options"], folder, spec["seed"])
    import torch

    from quality.adapters import ADAPTERS, Settings

    torch.manual_seed(spec["seed"])
    settings = Settings(spec["options"])
    trainer = ADAPTERS[spec["name"]](images, settings, folder)
    settings.require_used()
    return trainer


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    random.seed(spec["seed"])
    np.random.seed(spec["seed"])
    images = np.load(spec["data"])
    trainer = _trainer(spec, images)
    recorder: Recorder[Any] = Recorder(spec, trainer.take)
    while not recorder.done:
        recorder.cycle(trainer.cycle)
    recorder.close()
    recorder.write(lambda weights: trainer.generate(weights, spec["count"], images.shape[3]))


if __name__ == "__main__":
    main()
