"""`kantor presets`."""

from __future__ import annotations

from dataclasses import dataclass

from kantor.app.options import Options, option
from kantor.cli.terminal import tell


@dataclass(frozen=True, kw_only=True)
class PresetsOptions(Options):
    """Options of `kantor presets`."""

    name: str | None = option("Preset to print", "NAME", default=None, complete="presets", positional=True)


def presets(options: PresetsOptions) -> None:
    """List the presets that come with Kantor, or print one."""
    from kantor.config.io import preset_names, preset_text

    if options.name is not None:
        for line in preset_text(options.name).rstrip().splitlines():
            tell(line)
        return
    width = max(map(len, preset_names()))
    for preset in preset_names():
        first_line = preset_text(preset).splitlines()[0].removeprefix("# ")
        tell(f"{preset:{width}} {first_line}")
