"""`kantor selftest`."""

from __future__ import annotations

from kantor.app.flags import DeviceOptions
from kantor.cli.terminal import tell


def selftest(options: DeviceOptions) -> int:
    """Prove the maths on this machine: losses, penalties, second derivatives and updates against closed forms."""
    from kantor.app.selftest import prove
    from kantor.engine.device import choose_device, describe_device

    device = choose_device(options.device)
    tell(f"on {describe_device(device)}:")
    failed = count = 0
    for proof in prove(device):
        count += 1
        failed += not proof.holds
        tell(f"{'ok  ' if proof.holds else 'BAD '} {proof.name}: {proof.error:.2g} off, bound {proof.bound:.2g}")
    tell(f"{failed} of {count} proofs fail: please report this" if failed else f"all {count} proofs hold")
    return 70 if failed else 0
