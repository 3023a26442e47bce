"""What packing did, as lines for the user."""

from __future__ import annotations

import itertools
import json

from kantor.data.loading import layout
from kantor.data.packing.pack import PackReport

_EXAMPLES = 3


def report_lines(report: PackReport, rejected_file: str) -> list[str]:
    """Returns the lines. rejected_file: what to call the file that lists the rejected files."""
    images_per_s = report.count / max(report.elapsed_s, 1e-9)
    lines = [
        f"packed {_images(report.count)}, {report.spec}, in {report.elapsed_s:.1f} s ({images_per_s:,.0f} a second)"
    ]
    if report.resumed_from:
        lines.append(f"resumed after the {report.resumed_from:,} images of an earlier attempt")
    if report.rejected:
        files = "file" if report.rejected == 1 else "files"
        lines.append(f"rejected {report.rejected:,} {files}, listed with the reason in {rejected_file}")
        with (report.path / layout.REJECTED).open(encoding="utf-8", errors="surrogateescape") as file:
            rejected = [json.loads(line) for line in itertools.islice(file, 1000)]
        rejected.sort(key=lambda entry: bool(entry.get("kind") == "not_image"))  # images first
        lines += [f"  {entry['name']}: {entry['reason']}" for entry in rejected[:_EXAMPLES]]
        lines += ["  ..."] if report.rejected > _EXAMPLES else []
    lines += [f"{_images(count)}: {conversion}" for conversion, count in sorted(report.notes.items())]
    if report.duplicates:
        lines.append(f"exact copies of other images: {report.duplicates:,}")
    if report.near_constant:
        lines.append(f"images of nearly one colour: {report.near_constant:,}")
    return lines


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count != 1 else ''}"
