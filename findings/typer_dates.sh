#!/usr/bin/env bash
# A datetime argument of a typer command
#
# Expected: `main(since: datetime)` takes 2026-01-02 with an optional time of day, as the documentation says, and refuses the rest
#   with exit code 2. So it was up to 0.28, where the usage line also lists the three formats.
# Seen: 0.29 converts through pydantic, which takes numbers for Unix time. The year 2026 and the compact date 20260102 are accepted
#   (exit code 0) and mean seconds after 1970-01-01 in UTC (1577923200000 means milliseconds). Such values, and those that end in Z,
#   carry a time zone where 2026-01-02 does not: comparing the two raises TypeError. The usage line no longer lists formats.
# Cure: typer.Argument(formats=[...]) gives the old behaviour: only those formats, no time zone.
# Versions: typer 0.28.0 and 0.29.2 (pydantic 2.14.3), Python 3.11.
# Seen on 2026-11-28:
#   typer 0.28.0
#     2026-01-02 -> 2026-01-02T00:00:00
#     2026       -> exit code 2
#     20260102   -> exit code 2
#   typer 0.29.2
#     2026-01-02 -> 2026-01-02T00:00:00
#     2026       -> 1970-01-01T00:33:46+00:00
#     20260102   -> 1970-08-23T11:48:22+00:00
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cat > "$folder/dates.py" <<'PY'
import sys
from datetime import datetime
from importlib.metadata import version
from typing import Annotated

import typer
from typer.testing import CliRunner


def results(annotation):
    app = typer.Typer(add_completion=False)

    @app.command()
    def main(since: annotation):
        print(since.isoformat())

    runs = {text: CliRunner().invoke(app, [text]) for text in ("2026-01-02", "2026", "20260102")}
    return {text: run.output.strip() if run.exit_code == 0 else f"exit code {run.exit_code}" for text, run in runs.items()}


plain = results(datetime)
print("typer", version("typer"))
for text, result in plain.items():
    print(f"  {text:10} -> {result}")
numbers = ["1970-01-01T00:33:46+00:00", "1970-08-23T11:48:22+00:00"] if version("typer") == "0.29.2" else ["exit code 2"] * 2
refused = ["2026-01-02T00:00:00", "exit code 2", "exit code 2"]
with_formats = results(Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"])])
sys.exit(list(plain.values()) != ["2026-01-02T00:00:00", *numbers] or list(with_formats.values()) != refused)
PY
"$folder/venv/bin/pip" install -q --disable-pip-version-check typer==0.28.0 click==8.3.1
"$folder/venv/bin/python" "$folder/dates.py"
"$folder/venv/bin/pip" install -q --disable-pip-version-check typer==0.29.2 pydantic==2.14.3
"$folder/venv/bin/python" "$folder/dates.py"
