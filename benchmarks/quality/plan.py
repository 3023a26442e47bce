"""What is to be run: contestants, datasets, trials, and the words for them on the command line."""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KANTOR = "kantor"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
"""Limits PyTorch, oneDNN and MKL to what a processor with AVX2 alone has."""
DATASETS = {
    "glyphs": "glyphs,size=32",
    "fashion": "data/fashion-mnist,size=32",
    "clipart": "data/clipart,size=32,channels=rgb,fit=contain",
    "clipart64": "data/clipart,size=64,channels=rgb,fit=contain",
    "sprites": "data/emoji,size=32,channels=rgba",
    "units": "data/units,size=32,channels=rgba",
    "food": "data/clipart/food,size=32,channels=rgb,fit=contain,limit=200,choose=random",
    "stacked": "data/digits,size=32,stack=60000",
}
"""Known datasets; `bash scripts/data.sh data clipart emoji units` downloads what they need."""


def options_of(text: str) -> dict[str, str]:
    """ "a=1,b=x" as a dictionary. Raises ArgumentTypeError if a part has no "="."""
    options = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise ArgumentTypeError(f"{part}: write NAME=VALUE")
        options[name] = value
    return options


@dataclass(frozen=True)
class Contestant:
    """Who trains: "kantor", "kantor@5690a5f", "plain", or a peer's name; behind a colon its options.

    Attributes:
        commit: of Kantor; "" for this checkout.
        options: for Kantor, flags of `kantor train` by name ("preset") and fields of the configuration, which have a dot;
            for all others, those that their adapter takes.
    """

    text: str
    name: str
    commit: str
    options: Mapping[str, str]

    @staticmethod
    def of(text: str) -> Contestant:
        """Reads NAME[@COMMIT][:OPTION=VALUE,...]."""
        whole, _, options = text.partition(":")
        name, _, commit = whole.partition("@")
        return Contestant(text, name, commit, options_of(options))

    @property
    def folder(self) -> str:
        return re.sub(r"[^A-Za-z0-9.=@+-]+", "-", self.text)


@dataclass(frozen=True)
class Dataset:
    """Images to learn: a source with the fields of `[data]` that decide how they are packed."""

    name: str
    source: str
    fields: Mapping[str, str]

    @staticmethod
    def of(text: str) -> Dataset:
        """Reads a name of `DATASETS`, or NAME=PATH[,FIELD=VALUE,...]."""
        name, equals, rest = text.partition("=")
        if not equals and name not in DATASETS:
            raise ArgumentTypeError(f"{text}: write NAME=PATH[,size=32,...], or one of {', '.join(DATASETS)}")
        source, _, fields = (rest if equals else DATASETS[name]).partition(",")
        return Dataset(name, source, options_of(fields))


@dataclass(frozen=True)
class Machine:
    """What a contestant may use.

    Attributes:
        isa: "native", or "avx2": limited to AVX2.
        paired: two trials run at a time, each pinned to a core of its own.
    """

    isa: str
    threads: int
    paired: bool = False

    @property
    def processor(self) -> str:
        """The class of instructions that contestants see: "avx512-bf16", "avx512", "avx2" or the machine's architecture."""
        return "avx2" if self.isa == "avx2" else _processor()

    @property
    def folder(self) -> str:
        return f"{self.processor}-{self.threads}t{'-paired' if self.paired else ''}"

    def environment(self, work: Path) -> dict[str, str]:
        """Variables for a contestant. Compiled kernels of different instructions must not share a folder."""
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        variables = dict.fromkeys(names, str(self.threads)) | {"TF_NUM_INTEROP_THREADS": "1"}
        variables["TORCHINDUCTOR_CACHE_DIR"] = str(work / "inductor" / self.folder)
        return variables | (AVX2 if self.isa == "avx2" else {})


@dataclass(frozen=True)
class Trial:
    """One contestant with one seed on one dataset, for `marks[-1]` seconds of training.

    Attributes:
        marks: seconds of training at which images are kept, rising.
        count: images to keep at each.
    """

    dataset: Dataset
    machine: Machine
    contestant: Contestant
    seed: int
    marks: Sequence[float]
    count: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    def path(self, work: Path) -> Path:
        """Its folder; `run.json` in it says that it is done."""
        length = f"{self.marks[-1]:g}s"
        parts = (self.dataset.name, self.machine.folder, length, self.contestant.folder, f"seed-{self.seed}")
        return work.joinpath("trials", *parts)


def _processor() -> str:
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text()))
    except OSError:
        return os.uname().machine
    for flag, name in (
        ("avx512_bf16", "avx512-bf16"),
        ("amx_bf16", "avx512-bf16"),
        ("avx512f", "avx512"),
        ("avx2", "avx2"),
    ):
        if flag in flags:
            return name
    return os.uname().machine
