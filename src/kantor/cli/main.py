"""`kantor`: its commands, and how errors end them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException

from kantor import __version__
from kantor.cli.command import Group, add_command
from kantor.cli.commands import (
    classes,
    compare,
    compose,
    doctor,
    evaluate,
    generate,
    pack,
    paint,
    presets,
    report,
    selftest,
    sonify,
    upscale,
    walk,
)
from kantor.cli.runs import runs_app
from kantor.cli.train import train
from kantor.errors import ConfigError, ResourceError, UserError, did_you_mean, out_of_memory, printable

app = typer.Typer(
    name="kantor",
    cls=Group,
    help="Train a Wasserstein GAN on your own pictures, and trust it.",
    no_args_is_help=True,
    suggest_commands=False,  # _fail_usage does
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, pack, generate, walk, classes, paint, compose, upscale, sonify, evaluate, report):
    add_command(app, command)
app.add_typer(runs_app(), name="runs")
add_command(app, compare)
add_command(app, presets)
add_command(app, doctor)
add_command(app, selftest)

_SYSTEM_ERRORS = {  # refused by the system, so not our bug; a missing file may be one
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EACCES,
    errno.EPERM, errno.ENAMETOOLONG,
}  # fmt: skip
FOREIGN = {
    "--gamma": "use --set objective.penalties.r1.weight=GAMMA/2, and the same for r2",
    "--snap": "use --set train.snapshot_images=4000*SNAP",
    "--cfg": "use --preset, which chooses networks and objective",
    "--cond": "use --conditional to train with class labels",
    "--data": "give the data as first argument: kantor train DATA",
    "--gpus": "leave it out: Kantor trains on one GPU",
}


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version"),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error"),
) -> None:
    if version:
        print(f"kantor {__version__}")  # noqa: T201
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits with its code: see the table in docs/commands.md."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    for name in ("stdout", "stderr"):  # closed by whoever called us
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    try:
        _check_call(words)
        code = app(words, prog_name="kantor", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except UserError as error:
        _fail(str(error), error.exit_code, debug)
    except (typer.Abort, KeyboardInterrupt):
        advice = "run the same command again to continue" if words[:1] == ["pack"] else "no file was left half written"
        _fail(f"stopped: by Ctrl-C; {advice}", 130, debug)
    except TyperException as error:
        _fail_usage(error, debug)
    except BrokenPipeError:  # the reader of our output has gone
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if out_of_memory(error):
            do = "use a smaller --batch or --size" if words[:1] == ["train"] else "close other programs"
            _fail(f"memory: not enough is free; {do}", 5, debug)
        if isinstance(error, OSError) and error.errno in _SYSTEM_ERRORS:
            from kantor.disk_errors import as_resource_error

            refused = as_resource_error(error, error.filename or "a file")
            _fail(str(refused), refused.exit_code, debug)
        what = f"internal error ({type(error).__name__}: {printable(str(error))[:200]})"
        _fail(f"kantor: {what}; please report {_crash_log()}", 70, debug)


def _check_call(words: Sequence[str]) -> None:
    """Raises UserError if the current folder was deleted, or for a flag of another program."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise ResourceError("the current folder", "has been deleted", "change to another one with cd") from None
    for name in (word.partition("=")[0] for word in words):
        if name in FOREIGN:
            raise ConfigError(name, "is not a flag of Kantor", FOREIGN[name])


def _fail_usage(error: TyperException, debug: bool) -> None:
    """Ends with exit code 2 after a wrong flag or argument; `kantor` alone has shown its help."""
    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.exit(2)
    where = context.command_path if context else "kantor"
    message, do = printable(error.format_message()).strip(), f"see {where} --help"
    if missing := re.fullmatch(r"No such (option|command):? '?(.*?)'?\.?( \(Possible .*)?", message):
        where, message = missing[2], f"no such {missing[1]}"
        flags = [flag for param in context.command.get_params(context) for flag in param.opts if flag[:2] == "--"]
        names, prefix = (flags, "--") if missing[1] == "option" else (context.command.commands, "")
        do = did_you_mean(where.strip("-"), [name.strip("-") for name in names], prefix) or do
    elif extra := re.match(r"Got unexpected extra argument\(s\) \((.*)\)", message):
        message = f'unexpected argument "{extra[1]}"'
        if where == "kantor train":
            do = "to train on several folders, combine them first: kantor pack A B --out AB"
        elif any(param.name == "seeds" for param in context.command.params):
            do = "write lists without spaces, such as 3,9"
    _fail(f"{where}: {message.rstrip('.')}; {do}", 2, debug)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _crash_log() -> str:
    """Writes the traceback, without the user's home folder, to a file; returns its name."""
    text = traceback.format_exc().replace(str(Path.home()), "~")
    path = Path(f"kantor-crash-{time.strftime('%Y%m%d-%H%M%S')}.log")
    try:
        from kantor import atomic

        atomic.write_text(path, f"kantor {__version__}\n{' '.join(sys.argv[1:])}\n\n{text}")
    except Exception:
        return "the output of the same command with --debug"
    return str(path)
