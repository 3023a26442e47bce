"""The listeners of a run: files, plots and the console."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kantor.app.training.parts import Parts
from kantor.app.training.terminal import Terminal
from kantor.engine.events import Bus, Listener
from kantor.report.loss_guide import loss_guide
from kantor.report.plots import LossPlot
from kantor.runs import directory
from kantor.sinks.best_model import BestScore
from kantor.sinks.console import Console
from kantor.sinks.events_log import EventsLog
from kantor.sinks.lines import LogFile
from kantor.sinks.metrics_csv import MetricsCsv
from kantor.sinks.samples import SampleSheets
from kantor.sinks.tensorboard import FOLDER, TensorBoard


@dataclass(frozen=True)
class Listeners:
    """The listeners of a run on one bus, in the order in which they hear an event.

    Attributes:
        best: knows at which number of images the best score was measured.
    """

    bus: Bus
    best: BestScore
    log: LogFile

    def close(self) -> None:
        self.log.close()
        for listener in self.bus.listeners.values():
            listener.close()


def build_listeners(path: Path, parts: Parts, terminal: Terminal, tensorboard: bool) -> Listeners:
    """The listeners that write into the run directory `path`."""
    names, best_name = (parts.score_plan.names, parts.score_plan.best) if parts.score_plan else ((), "")
    best, log = BestScore(best_name), LogFile(path / directory.LOG)
    listeners: dict[str, Listener] = {  # checkpoints know their state by these names
        "metrics.csv": MetricsCsv(path / directory.METRICS, names),
        "best score": best,
        "events.jsonl": EventsLog(path / directory.EVENTS),
        "sample sheets": SampleSheets(path),
        "losses.png": LossPlot(path, loss_guide(parts.config.objective)),
        "log.txt": Console(log, path),
        "console": terminal.console(path),
    }
    if tensorboard:
        listeners["tensorboard"] = TensorBoard(path / FOLDER)
    return Listeners(Bus(listeners), best, log)
