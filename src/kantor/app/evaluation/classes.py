"""Which classes of a conditional model are scored, and the real images of these classes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kantor.app import environment
from kantor.app.class_names import class_number, split_classes
from kantor.app.dataset.cache import DatasetCache
from kantor.app.evaluation.open_images import Reference, Subject
from kantor.app.evaluation.options import EvaluateOptions
from kantor.data.loading.image_set import ImageSet, Subset
from kantor.data.loading.store import Store
from kantor.data.sources.python_object import PREFIX
from kantor.data.sources.recognise import GLYPHS, place
from kantor.errors import ConfigError, DataError
from kantor.runs import directory

ALL = "all"


def choose_classes(
    options: EvaluateOptions, subject: Subject, reference: Reference, cache: DatasetCache
) -> tuple[str, ...]:
    """Names of the classes that --class names, or of the one whose images the reference is; empty for all.

    Raises ConfigError if the model has no such class.
    """
    known = subject.card.class_names if subject.card else ()
    flag = "--per-class" if options.per_class else "--class"
    if (options.classes or options.per_class) and not known:
        what = f"{subject.name} has no classes" if subject.card else f"{subject.name} is a set of images"
        raise ConfigError(flag, what, f"leave {flag} out, or name a model trained with --conditional")
    if options.classes and subject.card:
        if options.per_class:
            raise ConfigError("--per-class", "scores every class", "leave --class out, or --per-class")
        if list(options.classes) == [ALL] and ALL not in known:
            return ()
        assert subject.card is not None
        numbers = [class_number(name, subject.card) for name in split_classes(options.classes, subject.card)]
        return tuple(known[number] for number in dict.fromkeys(numbers))
    if options.per_class or options.against is None or not known:
        return ()
    name = _class_of(options.against, subject, reference, cache)
    if name is None:
        return ()
    cache.note(f"generates class {name}, that of {options.against} (--class {ALL} generates all classes)")
    return (name,)


def _class_of(against: str, subject: Subject, reference: Reference, cache: DatasetCache) -> str | None:
    """The class of the model whose images `against` holds, by its place, its name, or the images themselves."""
    assert subject.card is not None
    known = subject.card.class_names
    if {*reference.compared.class_names} & {*known} or against == GLYPHS or against.startswith(PREFIX):
        return None
    path = place(against).resolve()
    if subject.config is not None and not subject.config.data.source.startswith(PREFIX):
        with contextlib.suppress(ValueError):
            within = path.relative_to(place(subject.config.data.source).resolve())
            for name in (within.as_posix(), *reversed(within.parts)):
                if name in known:
                    return name
    if path.name in known or path.stem in known:
        return path.name if path.name in known else path.stem
    return _class_of_images(subject, reference.compared, cache)


def _class_of_images(subject: Subject, images: ImageSet, cache: DatasetCache) -> str | None:
    """The one class that the run's training set, if it is in the cache, gives to all these images."""
    if subject.run is None:
        return None
    expected = environment.read(subject.run / directory.ENVIRONMENT).get("data_fingerprint")
    for path in sorted(cache.packs.glob("[0-9a-f]*")):
        with contextlib.suppress(DataError):
            store = Store.open(path)
            if store.fingerprint == expected and store.labelled:
                return _common_class(store, images)
    return None


def _common_class(training: Store, images: ImageSet) -> str | None:
    labels = training.labels(np.arange(training.count))
    if labels is None:
        return None
    label_of = {digest.tobytes(): int(label) for digest, label in zip(training.digests(), labels, strict=True)}
    found = {label_of.get(digest.tobytes()) for digest in images.digests()}
    label = found.pop() if len(found) == 1 else None
    return None if label is None else training.class_names[label]


def of_classes(reference: Reference, names: Sequence[str]) -> Reference:
    """The images of these classes; all images of a reference that has none of the model's classes.

    Raises DataError if the reference has other classes of the model, but not all of these.
    """
    if not {*names} & {*reference.compared.class_names}:
        return replace(reference, classes=tuple(names))
    missing = [name for name in names if name not in reference.compared.class_names]
    if missing:
        what = f"has no images of class {missing[0]}"
        raise DataError(Path(reference.compared.path).name, what, "leave the class out of --class")
    training, compared = (_subset(part, names) for part in (reference.training, reference.compared))
    held_out = None if reference.held_out is None else _subset(reference.held_out, names)
    held_out = held_out if held_out is not None and held_out.count else None
    return replace(reference, training=training, held_out=held_out, compared=compared, classes=tuple(names))


def _subset(images: ImageSet, names: Sequence[str]) -> ImageSet:
    labels = images.labels(np.arange(images.count))
    if labels is None:
        return images
    wanted = [images.class_names.index(name) for name in names if name in images.class_names]
    return Subset(images, np.flatnonzero(np.isin(labels, wanted)))
