"""How the program was called, so that commands shown to the user can be copied."""

from __future__ import annotations

import shlex
from pathlib import Path


def called_as(argv0: str, on_path: str | None) -> str:
    """The words before the command: "kantor", ".venv/bin/kantor" or "python -m kantor".

    Args:
        argv0: sys.argv[0].
        on_path: `kantor` as a shell finds it, or None.
    """
    path = Path(argv0)
    if path.name == "__main__.py":
        return "python -m kantor"
    if path.stem != "kantor" or argv0 == path.name or (on_path and path.absolute() == Path(on_path).absolute()):
        return "kantor"
    return shlex.quote(argv0)
