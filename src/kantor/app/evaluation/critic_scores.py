"""Scores that the critic of a run gives to images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kantor.app.evaluation.image_sets import GeneratedImages, RealImages, choose_images
from kantor.app.evaluation.subject import Subject
from kantor.data.loading.feed import to_float
from kantor.data.loading.image_set import ImageSet
from kantor.errors import ModelError
from kantor.metrics.inputs import CriticScores
from kantor.nets import build_critic
from kantor.random import permute
from kantor.runs.run_state import RunState

MAX_CRITIC_IMAGES = 2000


def score_with_critic(
    subject: Subject,
    scored: RealImages | GeneratedImages,
    training: ImageSet,
    held_out: ImageSet | None,
    device: torch.device,
) -> CriticScores | None:
    """Critic scores of the three sets, from the checkpoint of the weights; None if there is none, or classes differ."""
    if subject.checkpoint is None or subject.config is None or subject.card is None:
        return None
    spec, class_names = subject.card.spec, subject.card.class_names
    saved = RunState.load(subject.checkpoint)
    config = saved.config()
    critic = build_critic(config.critic, spec, len(class_names))
    try:
        critic.load_state_dict(saved.weights("critic"))
    except RuntimeError as error:
        raise ModelError(subject.checkpoint, "does not fit the run's configuration", "leave critic out") from error
    if class_names and tuple(training.class_names) != class_names:
        return None
    critic.eval().to(device)

    def scores(images: RealImages | GeneratedImages) -> NDArray[np.float64]:
        return _critic_scores(critic, images, bool(class_names), config.train.batch, device)

    held_out_scores = None
    if held_out is not None and held_out.count:
        held_out_scores = scores(choose_images(held_out, MAX_CRITIC_IMAGES, spec))
    return CriticScores(scores(choose_images(training, MAX_CRITIC_IMAGES, spec)), scores(scored), held_out_scores)


@torch.inference_mode()
def _critic_scores(
    critic: nn.Module, images: RealImages | GeneratedImages, conditional: bool, batch: int, device: torch.device
) -> NDArray[np.float64]:
    """float64 [n], n at most `MAX_CRITIC_IMAGES`.

    Takes whole batches of the size used in training, since a critic may compare the images of a batch; and shuffles
    them, since datasets are stored class by class.
    """
    count = min(MAX_CRITIC_IMAGES, len(images)) // batch * batch or min(len(images), batch)
    shuffled = permute(np.arange(len(images)), len(images), seed=0)
    scores = []
    for start in range(0, count, batch):
        indices = shuffled[start : min(start + batch, count)]
        labels = images.labels(indices) if conditional else None
        x = to_float(torch.from_numpy(images.images(indices)).to(device))
        y = None if labels is None else torch.from_numpy(np.asarray(labels)).to(device)
        scores.append(critic(x, y).float().cpu().numpy())
    return np.concatenate(scores).astype(np.float64)
