"""Names and definitions of scores."""

from __future__ import annotations

from pathlib import Path

from kantor.metrics.evaluate import METRICS
from kantor.report.scores import DEFINITIONS, meaning, sourced, title

DOCS = Path(__file__).parents[2] / "docs" / "scores.md"


def test_the_docs_define_scores_in_the_same_words() -> None:
    text = DOCS.read_text()
    for name, definition in DEFINITIONS.items():
        example = {"swd_": "swd_32", "controls_": "controls_x", "controls_error_": "controls_error_x"}.get(name, name)
        assert f"| `{example}` | {definition.meaning} | {definition.source} |" in text


def test_every_score_has_a_definition() -> None:
    for metric in METRICS.values():
        for name in metric.scores:
            assert meaning(f"{name}@kantor-small")
    assert meaning("swd_16@pixels") == DEFINITIONS["swd_"].meaning
    assert sourced("recall@random").endswith("(Kynkäänniemi et al. 2019)")
    assert (
        title("fd@random") == "Fréchet distance @random" and title("other@x") == "other@x @x" and meaning("other") == ""
    )
