"""`kantor selftest`."""

from __future__ import annotations

import typer

from kantor.cli.options import Device, tell


def add_to(app: typer.Typer) -> None:
    app.command("selftest")(selftest)


def selftest(device: Device = "auto") -> int:
    """Prove the maths here: losses, penalties, second derivatives and updates against closed forms."""
    from kantor.app.selftest import prove
    from kantor.engine.device import choose_device, describe_device

    chosen = choose_device(device)
    tell(f"on {describe_device(chosen)}:")
    failed = count = 0
    for proof in prove(chosen):
        count += 1
        failed += not proof.holds
        tell(f"{'ok  ' if proof.holds else 'BAD '} {proof.name}: {proof.error:.2g} off, bound {proof.bound:.2g}")
    tell(f"{failed} of {count} proofs fail: please report this" if failed else f"all {count} proofs hold")
    return 70 if failed else 0
