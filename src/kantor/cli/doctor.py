"""`kantor doctor`."""

from __future__ import annotations

import typer

from kantor.cli.options import Device, tell


def add_to(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(device: Device = "auto") -> int:
    """Look at this machine, train for a moment, and say in plain words what works."""
    from kantor.app.doctor import examine

    findings = examine(device)
    for finding in findings:
        tell(f"{'ok  ' if finding.good else 'BAD '} {finding.text}")
    good = all(finding.good for finding in findings)
    tell("everything that training needs works here" if good else "training will not work here: see above")
    return 0 if good else 5
