"""Scores of a trained generator, or of any folder of images, against a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kantor.app.dataset.prepare import cache_folder, spec_of
from kantor.app.evaluation.critic_scores import criticise
from kantor.app.evaluation.image_sets import Drawn, Reals, chosen, gathered
from kantor.app.evaluation.modes import modes_of, provenance, reading_modes
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.evaluation.subject import Note, Subject, fakes_of, find_subject, parts_of, reference_of
from kantor.app.units import names
from kantor.engine.device import choose_device
from kantor.errors import ConfigError
from kantor.metrics.evaluate import METRICS, USUAL, Material, evaluate, known
from kantor.metrics.extract import Gathered
from kantor.metrics.extractors import extractor
from kantor.metrics.score import Comparison, Scores, free_for, require_alike
from kantor.progress import ProgressOf

MOST_REMEMBERED = 200_000


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and what it was made of.

    Attributes:
        fakes: the images scored.
        training: all that they may have been copied from; None where nn was not measured.
        compared: with earlier scores, where these were named.
    """

    scores: Scores
    material: Material
    subject: Subject
    fakes: Reals | Drawn
    training: Reals | None
    compared: dict[str, Comparison] | None


def evaluate_subject(
    options: EvaluateOptions, note: Note, progress_of: ProgressOf, given: Subject | None = None
) -> Evaluation:  # fmt: skip
    """Measures.

    Args:
        given: what is scored; None finds what the options name.
        note: shows a line.
        progress_of: of packing, extracting features and measuring.
    """
    metrics, lenient = _wanted(options.metrics)
    earlier = Scores.read(options.compare) if options.compare else None
    device, cache = choose_device(options.device), cache_folder(options.cache)
    network = extractor(options.features, device)
    subject = given or find_subject(options)
    if options.held_out and (options.against is not None or not (subject.config and subject.config.data.holdout)):
        what = "goes without --against" if options.against is not None else "no images were held out of training"
        raise ConfigError("--held-out", what, "train with --set data.holdout=10%, and name that run alone")
    packing = progress_of("packing")
    store, config = reference_of(options, subject, cache, packing, note)
    training, held = parts_of(store, config, options, note)
    spec = subject.card.spec if subject.card else spec_of(config, store)
    reference = training if held is None or not options.held_out else held
    reals = chosen(reference, options.count, spec)
    network = reading_modes(network, reals, config.data) if "modes" in metrics else network
    fakes = fakes_of(options, subject, reals, device, spec, cache, packing, note)
    found_reals = gathered(reals, network, progress_of("looking at real images:"), cache)
    modes = modes_of(network, reals, found_reals, config.data) if "modes" in metrics else None
    part = "" if held is None else "held out" if options.held_out else "training"
    told = provenance(network, reals, len(fakes), modes, part) | _about(options, subject)
    if earlier is not None:  # before minutes are spent
        require_alike(told, earlier.provenance, free_for())
    everything = chosen(training, MOST_REMEMBERED, spec) if "nn" in metrics else None
    if everything is not None and len(everything) < training.count:
        note(f"copies are looked for among {len(everything):,} of {training.count:,} images")
    looked_at = {reals.digest(): found_reals}

    def look(images: Reals | None, what: str) -> Gathered | None:
        """Each set of real images once, and only where copies are looked for."""
        if images is None or everything is None:
            return None
        if (key := images.digest()) not in looked_at:
            looked_at[key] = gathered(images, network, progress_of(f"looking at {what}:"), cache)
        return looked_at[key]

    drawn = gathered(fakes, network, progress_of("looking at the images to be scored:"), cache)
    alike = _same_classes(subject, reals)
    material = Material(
        network,
        drawn,
        found_reals,
        fakes.pick,
        reals.pick,
        fakes.labels(drawn.order) if alike else None,
        reals.labels(found_reals.order) if alike else None,
        look(everything, "all images learnt from"),
        look(None if held is None else chosen(held, options.count, spec), "images held out"),
        modes,
        criticise(subject, fakes, training, held, device) if "critic" in metrics else None,
        options.seed,
    )
    measuring = progress_of("measuring score")
    told |= {"pairs": "within classes"} if material.within_classes else {}
    scores = Scores(evaluate(material, metrics, note if lenient else None, measuring), told)
    compared = scores.compare(earlier) if earlier is not None else None
    return Evaluation(scores, material, subject, fakes, everything, compared)


def _wanted(metrics: Sequence[str] | None) -> tuple[tuple[str, ...], bool]:
    """The scores to be measured, and whether those that cannot be are left out: unless they were named."""
    if metrics is None:
        return USUAL, True
    wanted = names(",".join(metrics))
    if wanted == ["all"]:
        return tuple(METRICS), True
    if "all" in wanted:
        raise ConfigError("--metrics", "all, and others beside it", "give all alone")
    if not wanted:
        raise ConfigError("--metrics", "names none", f"choose of: {', '.join(METRICS)}")
    for name in wanted:
        known(name, "--metrics")
    return tuple(dict.fromkeys(wanted)), False


def _same_classes(subject: Subject, reals: Reals) -> bool:
    """Whether labels of both sides mean the same classes."""
    names = subject.card.class_names if subject.card else ()
    return bool(names) and tuple(reals.store.class_names) == names


def _about(options: EvaluateOptions, subject: Subject) -> dict[str, Any]:
    about: dict[str, Any] = {"model": subject.name, "seed": options.seed}
    if subject.card:
        about |= {"images_seen": subject.card.images_seen, "truncation": options.truncation}
    return about
