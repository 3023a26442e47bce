"""compare.html: one page about several runs, which needs no other file and no network; and its table in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kantor.report.overlay import COLOURS, SVG_DASHES
from kantor.report.page import Curve, EmbeddedImage, render

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "↓": r"$\downarrow$", "↑": r"$\uparrow$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A line of the key to the curves: a kind of training, and its runs with their dashes."""

    label: str
    colour: int
    runs: Sequence[tuple[str, int]]

    @property
    def stroke(self) -> str:
        return COLOURS[self.colour]

    def dash(self, number: int) -> str:
        """As stroke-dasharray."""
        return SVG_DASHES[number % len(SVG_DASHES)]


@dataclass(frozen=True)
class Table:
    """head: of the columns; rows: cells as text; notes: sentences below."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ComparePage:
    """What the page says, as text; the template escapes all of it but `Curve.svg`.

    Attributes:
        conclusions: what may be concluded, sentence by sentence.
        scores: mean and spread of each kind of training; each: of each run; differences: of each pair, each score.
        sheets: images of the same seeds; sheet_note: which.
        losses: groups of curves by objective; loss_notes: what was left out.
        settings: in which the kinds differ.
        files: what else lies in the folder: (name, what it holds).
        command: which made the page.
    """

    title: str
    lead: str
    conclusions: Sequence[str]
    scores: Table
    each: Table
    differences: Table
    sheets: Sequence[EmbeddedImage]
    sheet_note: str
    key: Sequence[Key]
    curves: Sequence[Curve]
    losses: Sequence[Curve]
    loss_notes: Sequence[str]
    cost: Table
    settings: Table
    files: Sequence[tuple[str, str]]
    command: str


def compare_html(page: ComparePage) -> str:
    """The whole page. Equal values give equal text."""
    return render("compare.html.j2", page)


def tex_table(table: Table, caption: str) -> str:
    """A table for LaTeX with the package booktabs; every character of its cells is text."""
    columns = "l" + "r" * (len(table.head) - 1)
    stars = [note for note in table.notes if note.startswith("*")]
    lines = [
        "% needs \\usepackage{booktabs}", f"% {_one_line(caption)}", f"\\begin{{tabular}}{{{columns}}}", "\\toprule",
        _tex_row(table.head), "\\midrule", *map(_tex_row, table.rows), "\\bottomrule",
        *(f"\\multicolumn{{{len(table.head)}}}{{l}}{{\\footnotesize {tex(note)}}} \\\\" for note in stars), "\\end{tabular}",
    ]  # fmt: skip
    return "\n".join([*lines, *(f"% {_one_line(note)}" for note in table.notes), ""])


def tex(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(_TEX.get(character, character) for character in _one_line(text))


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(tex, cells)) + r" \\"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
