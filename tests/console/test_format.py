"""Figures as operators read them."""

from __future__ import annotations

import pytest

from basilica_tui import format as f
from basilica_tui.symbols import ASCII, UNICODE, speaks_utf8

LOOK = f.Look(now=1_000_000.0)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "now"), (4, "now"), (7, "5 s"), (47, "40 s"), (60, "1 min"), (840, "14 min"), (5399, "89 min"),
     (5400, "1 h"), (172_799, "47 h"), (172_800, "2 d"), (1_000_000, "11 d"), (-50, "now")],
)  # fmt: skip
def test_ages_are_coarse(seconds: float, shown: str) -> None:
    """One unit, the fitting one; a clock that jumped back reads as now."""
    assert f.age(LOOK.now - seconds, LOOK) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(-1, "over"), (5, "10 s"), (41, "50 s"), (2460, "41 min")])
def test_time_left_ends_with_over(seconds: float, shown: str) -> None:
    """Seconds are only said in tens."""
    assert f.remaining(LOOK.now + seconds, LOOK) == shown


@pytest.mark.parametrize(
    ("count", "model", "memory", "shown"),
    [
        (8, "NVIDIA H100 80GB HBM3", 81559, "8×H100 80G"),
        (1, "NVIDIA GeForce RTX 4090", 24564, "1×RTX 4090 24G"),
        (8, "NVIDIA A100-SXM4-80GB", 81920, "8×A100 80G"),
        (None, "", None, "–"),
        (4, "", None, "4×GPU"),
    ],
)
def test_gpus_are_named_short(count: int | None, model: str, memory: int | None, shown: str) -> None:
    """What every data-centre name repeats is left out."""
    assert f.gpus(count, model, memory, LOOK) == shown


def test_hotkeys_keep_both_ends() -> None:
    """Four characters at each end, as operators compare them."""
    assert f.short_hotkey("5G3qVaXzKMPDm5AJ3dpzbpUC27kpccBvDwzSWXrq8M6qMmbC", LOOK) == "5G3q…MmbC"
    assert f.short_hotkey("", LOOK) == "–"


def test_sparklines_and_bars_have_their_exact_width() -> None:
    """Missing history is blank on the left; the scale starts at zero."""
    assert f.sparkline([0, 50, 100], 5, UNICODE) == "  ▁▅█"
    assert f.sparkline([], 3, UNICODE) == "   "
    assert f.bar(0.5, 4, UNICODE) == "██··"
    assert f.bar(7, 4, ASCII) == "####"


@pytest.mark.parametrize("name", list(UNICODE.__dataclass_fields__))
def test_every_mark_has_an_ascii_form(name: str) -> None:
    """A terminal without UTF-8 gets nothing else."""
    assert getattr(ASCII, name).isascii()


@pytest.mark.parametrize(
    ("env", "expected"),
    [({"LC_ALL": "C"}, False), ({"LANG": "de_DE.UTF-8"}, True), ({"LC_ALL": "POSIX", "LANG": "C.UTF-8"}, False)],
)
def test_the_locale_decides_about_utf8(env: dict[str, str], expected: bool) -> None:
    """The first variable that is set wins, as in the C library."""
    assert speaks_utf8(env) is expected
