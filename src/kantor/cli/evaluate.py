"""`kantor evaluate`."""

from __future__ import annotations

import json

from kantor.app.evaluation.options import EvaluateOptions
from kantor.cli.terminal import show, show_progress, tell
from kantor.progress import all_silent


def evaluate(options: EvaluateOptions) -> None:
    """Measure how close generated images are to real ones, how varied they are, and whether they are copies.

    Every score comes with a 95% interval, and with the score that real images get.
    """
    from kantor.app.evaluation import write
    from kantor.app.evaluation.evaluate import evaluate_subject
    from kantor.app.output_paths import require_free

    if options.out is not None:
        require_free(options.out, options.overwrite, write.OUTPUT_FILES)

    def note(line: str) -> None:
        if not options.json:
            show(line)

    with show_progress() as progress_of:
        found = evaluate_subject(options, note, all_silent if options.json else progress_of)
    folder = options.out or (write.next_folder(found.subject.run) if found.subject.run else None)
    written = write.write(found, folder, options.overwrite) if folder else []
    if options.json:
        result = found.scores.as_json()
        if found.comparisons is not None:
            result["comparison"] = {name: comparison.as_json() for name, comparison in found.comparisons.items()}
        tell(json.dumps(result, allow_nan=False))
        return
    for line in [*write.about(found), *write.table(found)]:
        tell(line)
    if options.compare is not None:
        tell("")
        for line in write.comparison(found, options.compare):
            tell(line)
    if written:
        show(f"written: {', '.join(path.name for path in written)} in {folder}")
    elif found.training is not None:
        show("add --out DIR for the sheet of nearest images and the histograms")
