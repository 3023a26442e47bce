"""`kantor doctor`."""

from __future__ import annotations

from kantor.app.flags import DeviceOptions
from kantor.cli.terminal import tell


def doctor(options: DeviceOptions) -> int:
    """Check this machine: versions, devices, free disk, and a moment of training."""
    from kantor.app.doctor import examine

    findings = examine(options.device)
    for finding in findings:
        tell(f"{'ok  ' if finding.good else 'BAD '} {finding.text}")
    good = all(finding.good for finding in findings)
    tell("everything that training needs works here" if good else "training will not work here: see above")
    return 0 if good else 5
