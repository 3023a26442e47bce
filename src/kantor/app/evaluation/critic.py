"""Scores that the critic of a run gives to images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kantor.alpha import premultiplied
from kantor.app.evaluation.image_sets import GeneratedImages, RealImages, choose_images
from kantor.app.evaluation.open_images import Reference, Subject
from kantor.config.schema import Config
from kantor.controls import beside_planes, controls_of
from kantor.data.loading.feed import to_float
from kantor.errors import ModelError
from kantor.metrics.inputs import CriticScores
from kantor.nets import build_critic, premultiplies
from kantor.random import permute
from kantor.runs.run_state import RunState

MAX_CRITIC_IMAGES = 2000


@dataclass(frozen=True)
class Critic:
    """The critic of a checkpoint, in evaluation mode on its device, and the configuration of its run."""

    network: nn.Module
    config: Config


def load_critic(subject: Subject, device: torch.device) -> Critic | None:
    """From the checkpoint that holds the subject's weights; None if there is none.

    Raises ModelError if it does not fit, ConfigError for a custom network that nobody has registered here, or that fails.
    """
    if subject.checkpoint is None or subject.card is None:
        return None
    saved = RunState.load(subject.checkpoint)
    config = saved.config()
    classes, controls = len(subject.card.class_names), config.guide.controls
    network = build_critic(config.critic, subject.card.spec, classes, guide=controls)
    try:
        network.load_state_dict(saved.weights("critic"))
    except RuntimeError as error:
        raise ModelError(subject.checkpoint, "does not fit the run's configuration", "leave critic out") from error
    network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Critic(network, config)


def score_with_critic(
    critic: Critic, subject: Subject, scored: RealImages | GeneratedImages, reference: Reference, device: torch.device
) -> CriticScores | None:
    """Critic scores of the three sets; None if the real images have other classes than the model."""
    class_names = subject.card.class_names if subject.card else ()
    if class_names and tuple(reference.training.class_names) != class_names:
        return None
    alpha = premultiplies(critic.config.generator, reference.spec)

    @torch.inference_mode()
    def scores(images: RealImages | GeneratedImages) -> NDArray[np.float64]:
        """float64 [n], n at most `MAX_CRITIC_IMAGES`.

        Takes whole batches of the size used in training, since a critic may compare the images of a batch; and shuffles
        them, since datasets are stored class by class.
        """
        batch = critic.config.train.batch
        count = min(MAX_CRITIC_IMAGES, len(images)) // batch * batch or min(len(images), batch)
        shuffled = permute(np.arange(len(images)), len(images), seed=0)
        parts = []
        for start in range(0, count, batch):
            indices = shuffled[start : min(start + batch, count)]
            labels = images.labels(indices) if class_names else None
            x = to_float(torch.from_numpy(images.images(indices)).to(device))
            x = (premultiplied(x) if alpha else x).contiguous(memory_format=torch.channels_last)
            y = None if labels is None else torch.from_numpy(labels).to(device)
            if controls := critic.config.guide.controls:  # each image is scored for those that it has
                x = beside_planes(x, controls_of(x, controls, alpha), controls)
            parts.append(critic.network(x, y).float().cpu().numpy())
        return np.concatenate(parts).astype(np.float64)

    part = reference.held_out
    training = scores(choose_images(reference.training, MAX_CRITIC_IMAGES, reference.spec))
    held_out = None if part is None else scores(choose_images(part, MAX_CRITIC_IMAGES, reference.spec))
    return CriticScores(training, scores(scored), held_out)
