"""Pipelines in TOML: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from kantor.config.pipeline import KINDS, Ground, Lines, Stage, Upscale, read_pipeline
from kantor.errors import ConfigError

SCENE = """
[[stage]]
kind = "ground"
pictures = ["a.png", "b"]
size = 128
[[stage]]
kind = "layout"
model = "layouts"
[[stage]]
kind = "objects"
model = "things"
[[stage]]
kind = "assemble"
[[stage]]
kind = "upscale"
model = "larger"
times = 4
"""


def read(text: str, folder: Path) -> list[Stage]:
    (folder / "p.toml").write_text(text)
    return read_pipeline(folder / "p.toml")


def stages(*tables: str) -> str:
    return "\n".join(f"[[stage]]\n{table}" for table in tables)


def test_stages_in_order(tmp_path: Path) -> None:
    found = read(SCENE, tmp_path)
    assert [stage.kind for stage in found] == ["ground", "layout", "objects", "assemble", "upscale"]
    assert isinstance(found[0], Ground) and found[0].size == "128" and found[0].pictures == ["a.png", "b"]
    assert isinstance(found[-1], Upscale) and found[-1].times == 4
    painter = read(stages('kind = "lines"\nmodel = "l"', 'kind = "colours"\nmodel = "c"', 'kind = "ground"'), tmp_path)
    assert isinstance(painter[0], Lines) and painter[2].sources == []  # type: ignore[attr-defined]


def test_kinds_are_named_as_they_are() -> None:
    assert all(cls.model_fields["kind"].annotation.__args__ == (kind,) for kind, cls in KINDS.items())  # type: ignore[union-attr]


LINES, COLOURS = 'kind = "lines"\nmodel = "l"', 'kind = "colours"\nmodel = "c"'
GROUND, LAYOUT, OBJECTS = (
    'kind = "ground"\ncolour = "#102030"',
    'kind = "layout"\nmodel = "a"',
    'kind = "objects"\nmodel = "o"',
)
ASSEMBLE, UPSCALE = 'kind = "assemble"', 'kind = "upscale"\nmodel = "u"'
REFUSED = [
    ("", "p.toml: names no stages; write tables [[stage]], each with a kind: lines, colours, ground"),
    ("stage = []", "p.toml: names no stages"),
    ('[stage]\nkind = "lines"', "p.toml: names no stages; write tables [[stage]]"),
    ('[lines]\nmodel = "l"', 'p.toml: lines: is no table of a pipeline; write [[stage]] and kind = "lines"'),
    ('[[stages]]\nkind = "lines"', 'p.toml: stages: there is no such table in a pipeline; did you mean "stage"?'),
    ("[train]\nbatch = 3", "p.toml: configures training, and names no stages; name a pipeline"),
    ("[[stage]\n", "p.toml: is not valid TOML"),
    (stages("model = 'x'"), "p.toml: stage 1: has no kind; choose one of: assemble, colours"),
    (stages("kind = ['lines']"), "p.toml: stage 1: there is no stage of the kind ['lines']"),
    (stages(LINES, "kind = 'colors'"), "p.toml: stage 2: there is no stage of the kind 'colors'; did you mean \"colours\"?"),
    (stages("kind = 'layout'"), 'p.toml: stage 1 (layout): model: is missing; write model = "..."'),
    (stages("kind = 'layout'\nmodle = 'x'"), 'p.toml: stage 1 (layout): modle: there is no such field; did you mean "model"?'),
    (stages(LINES + "\ndrawing = 'x'"), 'p.toml: stage 1 (lines): drawing: there is no such field; did you mean "drawings"?'),
    (stages(ASSEMBLE + "\nmodel = 'x'"), "p.toml: stage 1 (assemble): model: there is no such field; leave it out"),
    (stages("kind = 'objects'\nmodel = 'x'\nextent = 0.4"), "extent: there is no such field; choose one of: haze, model"),
    (stages("kind = 'ground'\ncolour = 'sky'"), 'stage 1 (ground): colour: "sky" is not a colour; write it as #rrggbb'),
    (stages(LINES + "\ndrawings = 'x'"), "p.toml: stage 1 (lines): it has a model or drawings, one of them; name either"),
    (stages("kind = 'lines'"), "p.toml: stage 1 (lines): it has a model or drawings"),
    (stages(GROUND + "\nmodel = 'x'"), "stage 1 (ground): model and colour are both named; leave one of them out"),
    (stages("kind = 'ground'\ncolour = 'blue'"), "stage 1 (ground): colour: "),
    (stages(GROUND + "\nsize = 'auto'"), "stage 1 (ground): the size is auto; write a number"),
    (stages(GROUND + "\nsize = 3"), "stage 1 (ground): size: 3 cannot be used; both sides must lie between 8 and 1024"),
    (stages(GROUND, UPSCALE + "\ntimes = 3"), "stage 2 (upscale): times: 3 is not one of its values; choose one of: 2, 4"),
    (stages("kind = 'layout'\nmodel = 3"), "stage 1 (layout): model: "),
    (stages(COLOURS, LINES), "stage 1 (colours): needs lines, and no stage before it makes them; move a stage lines before it"),
    (stages(UPSCALE), "stage 1 (upscale): needs a picture, and no stage before it makes one; add a stage lines, colours, ground"),
    (stages("kind = 'ground'"), "stage 1 (ground): needs a picture, and no stage before it makes one; add a stage lines, col"),
    (stages(OBJECTS), "stage 1 (objects): needs a layout, and no stage before it makes one; add a stage layout before it"),
    (stages(LAYOUT, OBJECTS, ASSEMBLE, GROUND), "stage 3 (assemble): needs a ground, and no stage before it makes one; move"),
    (stages(GROUND, LAYOUT, ASSEMBLE), "stage 3 (assemble): needs objects, and no stage before it makes them; add a stage obj"),
    (stages(GROUND, LAYOUT, OBJECTS, LAYOUT, ASSEMBLE), "stage 5 (assemble): needs objects"),
    (stages(*[GROUND] * 21), "p.toml: names 21 stages; name at most 20"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(text, tmp_path)
    assert message in str(error.value).replace(f"{tmp_path}/", "")
    assert "\n" not in str(error.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        read_pipeline(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ConfigError, match="is not a text file"):
        read_pipeline(tmp_path / "b.toml")
