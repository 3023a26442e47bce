"""`kantor runs`: what is done with runs as a whole."""

from __future__ import annotations

import json
import shutil
import sys

import typer

from kantor.app.run_list.options import BestOptions, DeleteOptions, ListOptions, NoteOptions, RenameOptions
from kantor.cli.command import GroupWithDefault, add_command
from kantor.cli.terminal import ask, counted, interactive, show, tell
from kantor.errors import ConfigError

COMMANDS = ("list", "best", "rename", "note", "delete")


def list_runs(options: ListOptions) -> None:
    """List the runs in a folder, damaged ones too: what they are, how far they are, and their best scores."""
    from kantor.app.run_list.listing import summaries, table
    from kantor.app.run_list.ranking import in_order

    runs = in_order(summaries(options.where, COMMANDS), options.sort)
    if options.json:
        tell(json.dumps([run.as_json() for run in runs], allow_nan=False))
    elif not runs:
        tell(f"no runs in {options.where} yet: train one with kantor train")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in table(runs, options.sort, width):
            tell(line)


def best(options: BestOptions) -> None:
    """Name the best run of those whose scores can be compared, and those that are as good within the interval."""
    from kantor.app.run_list.listing import summaries
    from kantor.app.run_list.ranking import alike, best_lines, usual_score

    runs = summaries(options.where)
    by = options.by or usual_score(runs)
    groups = alike(runs, by, "--by")
    if options.json:
        tell(json.dumps([group[0].as_json() for group in groups], allow_nan=False))
        return
    for line in best_lines(groups, by):
        tell(line)


def rename(options: RenameOptions) -> None:
    """Give a run another name; its number stays, and it can be resumed as before."""
    from kantor.runs import directory, manage

    run = directory.find(options.run, options.runs)
    show(f"{run.name} is now {manage.rename(run, options.new)}")


def note(options: NoteOptions) -> None:
    """Write a note on a run, for the list and its report; without TEXT, print it; an empty text removes it."""
    from kantor.runs import directory, manage

    run = directory.find(options.run, options.runs)
    if not options.text:
        tell(manage.read_note(run) or f"{run}: no note")
        return
    text = " ".join(options.text)
    manage.write_note(run, text)
    show(f"{run}: {'noted' if text.strip() else 'note removed'}")


def delete(options: DeleteOptions) -> None:
    """Delete runs with all that is in them, after a question or with --yes.

    A run that is being trained, a link and a folder that is no run are never deleted.
    """
    from kantor.app.run_list.listing import size_text
    from kantor.app.run_list.summary import summarize
    from kantor.runs import manage

    runs = manage.to_delete(options.named, options.runs)
    if not options.yes and not interactive():
        names = ", ".join(run.name for run in runs)
        raise ConfigError("delete", f"would delete {names}, and nobody can be asked here", "add --yes")
    for run in runs:
        about = summarize(run)
        seen = "" if about.images_seen is None else f", {counted(about.images_seen, 'image')} seen"
        if options.yes or ask(f"delete {run} ({size_text(about.size)}{seen})?"):
            manage.delete(run)
            show(f"deleted {run}")
        else:
            show(f"kept {run}")


def runs_app() -> typer.Typer:
    """The group of these commands; `kantor runs DIR` lists."""
    app = typer.Typer(
        cls=GroupWithDefault,
        help="List, rename, annotate and delete runs, and find the best.\n\nkantor runs \\[DIR] lists, as kantor runs list does.",
        suggest_commands=False,
        subcommand_metavar="[COMMAND] [ARGS]...",
    )
    for run, name in ((list_runs, "list"), (best, ""), (rename, ""), (note, ""), (delete, "")):
        add_command(app, run, name)
    return app
