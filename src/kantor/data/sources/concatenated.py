"""Several sources as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kantor.data.sources import labels as label_files
from kantor.data.sources.source import RULES, Item, Loaded, Rejected, Source

_PART_SHIFT = 44  # bits of a position that belong to the part


class Concatenated(Source):
    """The images of several sources, one after the other; classes of the same name are one.

    At most a few parts have their files open at a time: there can be more parts than the system allows open files.

    Args:
        prefixes: of the names, one for each part, all different.
        labels: a file of labels, in which the names have the prefixes; "none" if the parts bring their labels.
        classes: of the images of each part that have none of their own.
    """

    def __init__(
        self,
        path: str,
        parts: Sequence[Source],
        prefixes: Sequence[str],
        labels: str = "none",
        classes: Sequence[str | None] | None = None,
        rules: int = RULES,
    ) -> None:
        self.rules = rules
        self.classes = list(classes) if classes is not None else [None] * len(parts)
        self.path, self.parts, self.prefixes, self.labels = path, list(parts), list(prefixes), labels
        self.exact = all(part.exact for part in parts)
        self.local_only = any(part.local_only for part in parts)
        self.note = "; ".join(dict.fromkeys(part.note for part in parts if part.note))
        self.rules = min((part.rules for part in parts), default=RULES)
        self._loading: int | None = None

    def items(self) -> Iterator[Item | Rejected]:
        """Those of the first source, then those of the second ..., each in its own order."""
        return label_files.attach_file(self._entries(), self.labels, self.rules, self.listing_notes)

    def load(self, item: Item) -> Loaded:
        """As its source loads it."""
        part, position = item.position >> _PART_SHIFT, item.position & ((1 << _PART_SHIFT) - 1)
        if self._loading not in (None, part):
            self.parts[self._loading].release()
        self._loading = part
        name = item.name.removeprefix(f"{self.prefixes[part]}/")
        return self.parts[part].load(replace(item, name=name, position=position))

    def prepare(self) -> None:
        """Prepares the parts, one at a time."""
        for part in self.parts:
            part.prepare()
            part.release()

    def _entries(self) -> Iterator[Item | Rejected]:
        for number, (part, prefix) in enumerate(zip(self.parts, self.prefixes, strict=True)):
            for entry in part.items():
                name = f"{prefix}/{entry.name}"
                if isinstance(entry, Rejected):
                    yield Rejected(name, entry.reason)
                    continue
                if entry.position >> _PART_SHIFT:  # it would be read as one of another part
                    raise OverflowError(f"{part.path}: {entry.name} is at {entry.position}")
                label = self.classes[number] if entry.label is None else entry.label
                yield replace(entry, name=name, position=number << _PART_SHIFT | entry.position, label=label)
            if number != self._loading:  # a part that is being loaded from stays open
                part.release()
