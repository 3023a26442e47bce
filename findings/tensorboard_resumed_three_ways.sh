#!/usr/bin/env bash
# A resumed run in TensorBoard: one log, three curves
#
# Expected: a run logs steps 0 to 90, is killed, resumes from its checkpoint at step 50 and logs 50 to 70 into the same folder.
#   If the new writer starts with a session START at step 50 (what SummaryWriter(purge_step=50) writes), every reader of
#   TensorBoard drops the older points from 50 on. If it does not, every reader keeps both. All readers agree.
# Seen: there are three readers, and no two of them agree on both logs.
#   - The data server (--load_fast true; in use wherever its binary is installed, as on Linux and macOS) always drops the old
#     points: it goes by steps that decrease, and the curve loses the old steps 80 and 90 even if nobody asked.
#   - The Python server (--load_fast false; what remains where that binary is missing) keeps both, START or not: it
#     takes the first START of a log for the beginning of the run and ignores its step. Only a log whose first writer began
#     with a START too is cut where it should be.
#   - EventAccumulator, which scripts use to export curves, cuts at any START.
#   A writer that begins every log with a START, at step 0 for a new run, is read alike by all three.
# Versions: tensorboard 2.20.0, tensorboard-data-server 0.7.2, protobuf 7.36.2, numpy 2.4.6, Python 3.11.
# Seen on 2026-11-29:
#   START of each writer    data server           Python server         EventAccumulator
#   none, none              8 points up to 70     13 points up to 90    13 points up to 90
#   none, at 50             8 points up to 70     13 points up to 90    8 points up to 70
#   at 0, at 50             8 points up to 70     8 points up to 70     8 points up to 70
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tensorboard==2.20.0 tensorboard-data-server==0.7.2 \
  protobuf==7.36.2 numpy==2.4.6 "setuptools<81"
cat > "$folder/readers.py" <<'PY'
import json
import logging
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

logging.disable(logging.WARNING)
folder = Path(sys.argv[1])
SERVER = """
import sys, time
from tensorboard import program
server = program.TensorBoard()
server.configure(argv=["tensorboard", "--logdir", sys.argv[1], "--load_fast", sys.argv[2], "--port", "0"])
print(server.launch(), flush=True)
time.sleep(600)
"""
CASES = {"none, none": (None, None), "none, at 50": (None, 50), "at 0, at 50": (0, 50)}
EXPECTED = {"none, none": (8, 13, 13), "none, at 50": (8, 13, 8), "at 0, at 50": (8, 8, 8)}


def write(log, steps, value, start):
    writer = EventFileWriter(str(log), filename_suffix=f".{int(value)}")
    if start is not None:
        session = SessionLog(status=SessionLog.START)
        writer.add_event(Event(wall_time=time.time(), step=start, session_log=session))
    for step in steps:
        loss = Summary.Value(tag="loss", simple_value=value)
        writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[loss])))
    writer.close()


def served(load_fast):
    """Steps of every log, as the server answers them to the browser."""
    command = [sys.executable, "-c", SERVER, str(folder / "logs"), load_fast]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            for _ in range(60):  # until everything is read
                time.sleep(1)
                with urllib.request.urlopen(f"{url}data/plugin/scalars/tags") as answer:
                    logs = json.load(answer)
                if len(logs) == len(CASES):
                    break
            time.sleep(6)
            found = {}
            for name in CASES:
                query = f"data/plugin/scalars/scalars?tag=loss&run={name.replace(', ', '-').replace(' ', '_')}"
                with urllib.request.urlopen(url + query) as answer:
                    found[name] = [int(step) for _, step, _ in json.load(answer)]
            return found
        finally:
            process.terminate()


def accumulated(log):
    events = EventAccumulator(str(log))
    events.Reload()
    return [event.step for event in events.Scalars("loss")]


logs = {name: folder / "logs" / name.replace(", ", "-").replace(" ", "_") for name in CASES}
for name, (first, second) in CASES.items():
    write(logs[name], range(0, 100, 10), 1.0, first)
time.sleep(1.1)  # names of event files hold seconds
for name, (first, second) in CASES.items():
    write(logs[name], range(50, 80, 10), 2.0, second)
fast, slow = served("true"), served("false")
print(f"{'START of each writer':24}{'data server':22}{'Python server':22}EventAccumulator")
same = True
for name, log in logs.items():
    readers = (fast[name], slow[name], accumulated(log))
    cells = "".join(f"{f'{len(steps)} points up to {max(steps)}':22}" for steps in readers)
    print(f"{name:24}{cells.rstrip()}")
    same = same and tuple(map(len, readers)) == EXPECTED[name]
sys.exit(not same)
PY
"$folder/venv/bin/python" "$folder/readers.py" "$folder" 2> "$folder/errors.txt" || { tail -3 "$folder/errors.txt"; exit 1; }
