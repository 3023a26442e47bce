import io

import pytest
import rich
from rich.console import Console

from kantor import progress


def test_lines_come_every_five_seconds_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, lines = [100.0], list[str]()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    with progress.show_progress(lines.append, terminal=False) as progress_of:
        packing = progress_of("packing")
        for now_s[0], done, rejected in [(110.0, 10, 0), (112.0, 20, 0), (120.0, 60, 3)]:
            packing(done, 1060, rejected)
    # the first ten are not counted: they waited for the worker processes
    assert lines == ["packing 20 of 1,060, about 208 s left", "packing 60 of 1,060, 3 rejected, about 200 s left"]


def test_work_that_begins_anew_has_a_speed_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at all images, then packing them."""
    now_s, lines = [100.0], list[str]()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    packing = progress.ProgressLines("packing", lines.append)
    for now_s[0], done in [(101.0, 1), (110.0, 999), (116.0, 10), (126.0, 110)]:
        packing(done, 1000)
    assert lines == ["packing 999 of 1,000, about 0 s left", "packing 110 of 1,000, about 89 s left"]


def test_a_bar_for_each_piece_of_work_and_a_clean_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=screen, force_terminal=True, width=100))
    with pytest.raises(KeyboardInterrupt), progress.show_progress(pytest.fail, terminal=True) as progress_of:
        packing, measuring = progress_of("packing"), progress_of("measuring")
        packing(1, 7, 2)
        packing(7, 7, 2)
        packing(1, 9)  # another dataset
        packing(9, 9)
        measuring(1, 3)
        raise KeyboardInterrupt
    text = screen.getvalue()
    for part in ("packing", "7/7", "2 rejected", "9/9", "measuring", "1/3"):
        assert part in text
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert text.count(hide) == text.count(show) == 3
    assert text.rindex(show) > text.rindex(hide)
