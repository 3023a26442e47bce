"""Commands as a user gives them, in this process."""

from __future__ import annotations

import signal

from kantor.cli.main import main

TINY = ["--size", "16", "--batch", "4", "--device", "cpu", "--channels", "rgb"]  # no process looks at a sample
for _field in ("generator.width=4", "critic.width=4", "generator.latent_dim=4", "train.precision=float32"):
    TINY += ["--set", _field]
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


def exit_of(*words: object) -> int:
    """Runs `kantor WORDS` and gives its exit code; leaves the signals as they were."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in _SIGNALS if hasattr(signal, name)}
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
    raise AssertionError("main() must exit")
