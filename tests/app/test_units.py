"""What people write, as numbers."""

from __future__ import annotations

from typing import Any

import pytest

from kantor.app import units
from kantor.errors import ConfigError
from kantor.metrics.evaluate import MIN_IMAGES


@pytest.mark.parametrize(
    ("parse", "value", "result"),
    [
        (units.count, "200000", 200_000), (units.count, "200k", 200_000), (units.count, "0.2M", 200_000),
        (units.thousands, "2.5", 2500), (units.count, "1_000", 1000), (units.count, "1,000", 1000), (units.count, 64, 64), (units.count, 2**53, 2**53),
        (units.duration_s, "90s", 90), (units.duration_s, "10 min", 600), (units.duration_s, "1h30m", 5400),
        (units.duration_s, "2d", 172_800), (units.duration_s, 12.5, 12.5),
        (units.batch, "64", 64), (units.batch, 64, 64), (units.batch, "auto", "auto"),
        (units.size, (48, 96), "48x96"), (units.size, 64, 64), (units.size, "48x96", "48x96"),
        (units.names, " fd, kid,", ["fd", "kid"]), (units.names, ["fd"], ["fd"]), (units.names, "none", []),
        (units.settings, ["critic.width=32", "data.fit=contain"], {"critic.width": 32, "data.fit": "contain"}),
        (units.settings, {"critic.width": 32}, {"critic.width": 32}),
        (units.scored, MIN_IMAGES, MIN_IMAGES), (units.scored, "10k", 10_000), (units.stops, " Smooth", "smooth"), (units.stops, "3,9", [3, 9]),
    ],
)  # fmt: skip
def test_what_is_read(parse: Any, value: Any, result: Any) -> None:
    assert parse(value, "--flag") == result


@pytest.mark.parametrize(
    ("parse", "value", "says"),
    [
        (units.slim, [2], "is not a number from 1 to 64"), (units.slim, "wide", "is not a number"), (units.slim, 0.5, "from 1 to 64"),
        (units.places, 0.5, "--flag 0.5: is not a list of places"), (units.places, [0.5], "--flag 0.5: is not a place"),
        (units.count, "lots", "--flag lots: is not a number; write for example 200000 or 200k"),
        (units.count, "3,5", "is not a number"), (units.count, "1,00", "is not a number"),
        (units.count, "0", "too small"), (units.count, 0, "too small"), (units.count, -5, "too small"),
        (units.count, float("nan"), "is not a number"), (units.count, 2**54, "too large"), (units.thousands, "0.0001", "too small"),
        (units.scored, "0", "--flag 0: too small; use at least 12, for example 2000 or 10k"),
        (units.scored, MIN_IMAGES - 1, "--flag 11: too small; use at least 12, for example 2000 or 10k"),
        (units.duration_s, "soon", "--flag soon: is not a duration; write for example 90s, 10m or 1h30m"),
        (units.duration_s, "0s", "leaves no time"), (units.duration_s, -1, "leaves no time"),
        (units.duration_s, float("nan"), "leaves no time"), (units.duration_s, float("inf"), "more than ten years"),
        (units.batch, "many", "--flag many: is not a whole number of at least 2; write for example 64, or auto"),
        (units.batch, 1, "at least 2"), (units.batch, 2.5, "at least 2"), (units.batch, "9" * 19, "at least 2"),
        (units.settings, ["critic.width"], "SECTION.FIELD=VALUE"),
    ],
)  # fmt: skip
def test_what_is_refused(parse: Any, value: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(value, "--flag")
    assert says in str(caught.value)


def test_seeds():
    assert units.seeds("0-3,99", "--seeds") == [0, 1, 2, 3, 99]
    assert units.seeds(" 3, 9 ,3-3", "--seeds") == [3, 9, 3]
    assert units.seeds("3 9 12", "--seeds") == units.stops("3\t9\u00a0 12", "--seeds") == [3, 9, 12]
    assert units.seeds("0-2 7, 9 11 - 12", "--seeds") == [0, 1, 2, 7, 9, 11, 12]
    assert units.seeds(str(2**63), "--seeds") == [2**63]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "missing"),
        ("1,,2", "missing"),
        ("cat", '"cat" is not a seed'),
        ("-3", '"-3" is not a seed'),
        ("1-2-3", "not a seed"),
        ("1.5", "not a seed"),
        ("٣", "not a seed"),
        ("³", "not a seed"),
        ("1_000", '"1_000" is not a seed'),
        ("3 -9", '"-9" is not a seed'),
        ("3 9,,12", "a seed is missing"),
        ("3,9,", "a seed is missing"),
        ("3;9", '"3;9" is not a seed'),
        ("3 +9", r'"\+9" is not a seed'),
        ("9-3", "write 3-9"),
        ("0-99999999999", "more than 1,000,000"),
        (str(2**64), "too large"),
    ],
)
def test_wrong_seeds(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        units.seeds(text, "--seeds")
    assert caught.value.where == "--seeds"


def test_grid():
    assert units.grid("16x4", "--grid") == (16, 4)
    assert units.grid(" 3 X 2 ", "--grid") == (3, 2)
    for wrong in ("16", "0x4", "4x0", "-1x2", "axb", "16x4x2", ""):
        with pytest.raises(ConfigError, match="columns x rows") as caught:
            units.grid(wrong, "--grid")
        assert caught.value.where == "--grid"


def test_colour():
    assert units.colour("#ffffff", "--paper") == (255, 255, 255)
    assert units.colour("#0A80fe", "--paper") == (10, 128, 254)
    for wrong in ("white", "ffffff", "#fff", "#ffffffff", "#gggggg", "#ffffff\n", " #ffffff", ""):
        with pytest.raises(ConfigError, match="#rrggbb") as caught:
            units.colour(wrong, "--paper")
        assert caught.value.where == "--paper" and caught.value.exit_code == 2


@pytest.mark.parametrize(("value", "number"), [("3.0", 3), (3.0, 3), ("3", 3), (3, 3), (str(2**62 + 1), 2**62 + 1)])
def test_whole_numbers(value, number):
    assert units.number(value, "--seed", whole=True, least=0, most=None) == number
    for wrong in ("3.5", 3.5, "3.x", "", "nan", float("nan"), float("inf"), None):
        with pytest.raises(ConfigError, match="not a whole number"):
            units.number(wrong, "--seed", whole=True, least=0, most=None)
