"""What the critic of a run makes of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kantor.app.evaluation.image_sets import Drawn, Reals, chosen
from kantor.app.evaluation.subject import Subject
from kantor.data.loading.feed import to_float
from kantor.data.loading.image_set import ImageSet
from kantor.errors import ModelError
from kantor.metrics.evaluate import CriticScores
from kantor.nets import build_critic
from kantor.random import permute
from kantor.runs.run_state import RunState

MOST_CRITICISED = 2000


@torch.inference_mode()
def criticise(
    subject: Subject, fakes: Reals | Drawn, training: ImageSet, held: ImageSet | None, device: torch.device
) -> CriticScores | None:
    """The critic's scores, from the checkpoint of the weights; None where there is none."""
    if subject.checkpoint is None or subject.config is None or subject.card is None:
        return None
    saved = RunState.load(subject.checkpoint)
    spec, names = subject.card.spec, subject.card.class_names
    config = saved.config()
    critic = build_critic(config.critic, spec, len(names))
    try:
        critic.load_state_dict(saved.weights("critic"))
    except RuntimeError as error:
        raise ModelError(subject.checkpoint, "does not fit the run's configuration", "leave critic out") from error
    critic.eval().to(device)
    batch = config.train.batch

    def scores(side: Reals | Drawn) -> np.ndarray[Any, np.dtype[np.float64]]:
        """In whole batches of the size that the critic learnt with, which may look at several images at once; mixed as
        these were, since a set lies class by class."""
        count = min(MOST_CRITICISED, len(side)) // batch * batch or min(len(side), batch)
        mixed = permute(np.arange(len(side)), len(side), seed=0)
        values = []
        for start in range(0, count, batch):
            places = mixed[start : min(start + batch, count)]
            labels = side.labels(places) if names else None
            x = to_float(torch.from_numpy(side.pick(places)).to(device))
            given = None if labels is None else torch.from_numpy(np.asarray(labels)).to(device)
            values.append(critic(x, given).float().cpu().numpy())
        return np.concatenate(values).astype(np.float64)

    if names and tuple(training.class_names) != names:
        return None
    held_scores = scores(chosen(held, MOST_CRITICISED, spec)) if held is not None and held.count else None
    return CriticScores(scores(chosen(training, MOST_CRITICISED, spec)), scores(fakes), held_scores)
