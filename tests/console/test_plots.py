"""Charts, their files, and the screen that shows them."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from basilica_tui.charts import (
    CHARTS,
    DAY_S,
    LABEL_STEPS,
    Plotted,
    charts_for,
    find_chart,
    pieces,
    plot_csv,
    scale,
    time_ticks,
    value_text,
)
from basilica_tui.plot_files import FILE_FORMS, plot_file, plot_png, plot_svg
from basilica_tui.plot_subjects import subject_name, subjects_of, words_for_subjects
from basilica_tui.screens.plot import PlotScreen
from basilica_tui.store import ConsoleStore
from engine.control.client import Snapshot
from engine.control.models import MinerView, VerificationView, View
from tests.console.conftest import MakeApp, make_engine
from tests.console.screen import settle, text_of
from tests.console.world import NOW, TestEngine, node_id

SSH = next(c for c in CHARTS if c.id == "ssh")
LATENCY = next(c for c in CHARTS if c.id == "latency")


def _plotted(*points: tuple[float, float], subject: str = "node-01") -> Plotted:
    return Plotted(SSH, subject, "24h", NOW - DAY_S, NOW, (("logins that worked", list(points)),))


@pytest.mark.parametrize(
    ("times", "lengths"),
    [([], []), ([0], [1]), ([0, 300, 600], [3]), ([0, 300, 3000, 3300, 9000], [2, 2, 1])],
)
def test_what_is_not_known_is_a_hole_not_a_line(times: list[float], lengths: list[int]) -> None:
    """A curve is drawn in stretches."""
    assert [len(piece) for piece in pieces([(t, 1.0) for t in times], "24h")] == lengths


@pytest.mark.parametrize(
    ("points", "expected"),
    [([], (0.0, 4.0)), ([(0, 5.0)], (0.0, 5.0)), ([(0, 0.0)], (0.0, 4.0)), ([(0, 2.0), (1, 8.0)], (0.0, 8.0))],
)
def test_a_scale_has_a_height(points: list[tuple[float, float]], expected: tuple[float, float]) -> None:
    """Also where nothing, or only zero, is known; percentages keep their ends."""
    assert scale(LATENCY, points) == expected
    assert scale(SSH, points) == (0.0, 100.0)


@pytest.mark.parametrize("values", [(61.9, 62.2), (62.0,), (61.4, 65.1), (-3.2, -2.9), ()])
def test_the_figures_beside_a_picture_differ(values: tuple[float, ...]) -> None:
    """A temperature that moves by a fraction of a degree is not five times the same figure."""
    chart = find_chart("temperature", charts_for("miner", "a"))
    assert chart is not None
    low, high = scale(chart, list(enumerate(values)))
    labels = [value_text(low + (high - low) * i / LABEL_STEPS, chart) for i in range(LABEL_STEPS + 1)]
    assert len(set(labels)) == len(labels)
    assert all(low <= value <= high for value in values)


@pytest.mark.parametrize("span", [3600.0, DAY_S, 14 * DAY_S, 90 * DAY_S])
def test_ticks_are_few_round_and_within_the_span(span: float) -> None:
    """Hours on short spans, days on long ones."""
    ticks = time_ticks(NOW - span, NOW, 8)
    assert 2 <= len(ticks) <= 9
    assert all(NOW - span <= at <= NOW for at, _ in ticks)
    assert all((":" in text) is (span <= DAY_S) for _, text in ticks)


def test_charts_belong_to_a_role_and_an_object() -> None:
    """A node has no emission, a validator no ramp."""
    assert "emission" in {c.id for c in charts_for("miner", "")}
    assert not {"sessions", "fleet"} & {c.id for c in charts_for("miner", "a")}
    assert "ramp" not in {c.id for c in charts_for("validator", "")}
    assert find_chart("lat", charts_for("miner", "")) is LATENCY
    assert find_chart("nonsense", charts_for("miner", "")) is None
    assert value_text(99.4, SSH) == "99%"
    assert value_text(1234.0, LATENCY) == "1,234 ms"


def test_a_plot_is_written_as_csv_svg_and_png_without_a_display() -> None:
    """The CSV has every point, the pictures are real files of their kind; a node's name is no markup in them."""
    plot = _plotted((NOW - 50_000, 0.0), (NOW - 600, 100.0), (NOW - 300, 50.0), subject="<b>\x1b[31mnode")
    assert len(plot_csv(plot).splitlines()) == 4
    root = ET.fromstring(plot_svg(plot))
    assert len([e for e in root.iter() if e.tag.endswith("polyline")]) == 2
    assert "\x1b" not in plot_svg(plot)
    from PIL import Image

    image = Image.open(io.BytesIO(plot_png(plot)))
    assert image.size == (1000, 420)
    assert len(image.getcolors(100_000) or ()) > 3
    assert all(plot_file(plot, form) for form in FILE_FORMS)


async def test_a_nodes_ramp_is_plotted_and_keys_walk_charts_spans_and_nodes(
    make_app: MakeApp, engine: TestEngine, tmp_path: Path
) -> None:
    """From the node under the cursor to the fleet, and into a file."""
    engine.series[("ssh", node_id(2))] = [(NOW - 300.0 * i, 100.0 - i) for i in range(40)][::-1]
    app = make_app(files=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("2", "j", "P")
        await settle(pilot)
        await settle(pilot)
        assert isinstance(app.screen, PlotScreen)
        text = text_of(app)
        assert "SSH SUCCESS node-02" in text and "100%" in text and "(61% to 100%)" in text
        assert any(c in text for c in "▀▄█▌▐▖▗▘▝▙▚▛▜▞▟")
        await pilot.press("e")
        await settle(pilot)
        assert len(list(tmp_path.glob("exports/ssh-node-02-24h-*.png"))) == 1
        await pilot.press("j", "l", "n")
        await settle(pilot)
        await settle(pilot)
        assert engine.asked[-1] == ("latency", node_id(3))
        assert "SSH LATENCY node-03" in text_of(app)
        assert "Nothing is known of this yet" in text_of(app)
        app.run_command("plot score 90d fleet")
        await settle(pilot)
        await settle(pilot)
        assert ("observed", "") in engine.asked
        assert "SCORE fleet" in text_of(app)
        app.run_command("plot nonsense")
        await settle(pilot)
        assert "no chart, span or node called nonsense" in text_of(app)


async def test_an_ascii_terminal_gets_an_ascii_plot(make_app: MakeApp, engine: TestEngine) -> None:
    """No block, no frame, no degree."""
    engine.series[("temperature", "")] = [(NOW - 300.0 * i, 50.0 + i) for i in range(40)][::-1]
    app = make_app(ascii_only=True)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        app.run_command("plot temperature")
        await settle(pilot)
        await settle(pilot)
        assert text_of(app).isascii()
        assert "*" in text_of(app)


@pytest.mark.parametrize("theme", ["light", "ansi", "high-contrast"])
@pytest.mark.parametrize("size", [(200, 60), (80, 24), (24, 8)])
async def test_plots_fit_every_theme_and_size(
    make_app: MakeApp, engine: TestEngine, theme: str, size: tuple[int, int]
) -> None:
    """Down to a terminal that has no room for one."""
    engine.series[("ramp", "")] = [(NOW - 300.0 * i, 50.0) for i in range(40)][::-1]
    app = make_app(theme=theme)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.run_command("plot ramp fleet")
        await settle(pilot)
        await settle(pilot)
        assert "RAMP" in text_of(app)
        assert all(len(line) <= size[0] for line in text_of(app).splitlines())


@pytest.mark.parametrize("key", ["2", "3"], ids=["miner", "node"])
async def test_a_validator_plots_scores_of_miners_and_their_nodes(make_app: MakeApp, key: str) -> None:
    """From the selected row, by the hour and without holes between the hours; keys walk on to the others."""
    engine = make_engine(role="validator")
    miner = min(engine.state.miners.values(), key=lambda m: m.uid or 0)
    view = min(engine.state.verifications.values(), key=lambda v: v.node_id)
    subject = miner.id if key == "2" else view.id
    engine.series[("score", subject)] = [(NOW - 3600.0 * i, 0.5 + i / 100) for i in range(20)][::-1]
    app = make_app(connect=engine.connect)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press(key)
        await settle(pilot)
        if key == "3":
            app.screen.table.move(app.screen.table.order.index(subject))  # type: ignore[attr-defined]
        await pilot.press("P")
        await settle(pilot)
        await settle(pilot)
        assert isinstance(app.screen, PlotScreen)
        text = text_of(app)
        assert "SCORE" in text and "0.50  (0.50 to 0.69)" in text
        assert (f"uid {miner.uid}" if key == "2" else f"{view.node_id[:8]} of uid {view.miner_uid}") in text
        assert ("score", subject) in engine.asked
        (curve,) = app.screen._plotted.curves  # type: ignore[union-attr]
        assert len(pieces(curve[1], "24h", app.screen._plotted.every_s)) == 1  # type: ignore[union-attr]
        await pilot.press("n")
        await settle(pilot)
        assert len({asked for series, asked in engine.asked if series == "score"}) == 2
        await pilot.press("k")
        await settle(pilot)
        assert engine.asked[-1][0] == "verified"


def test_what_a_plot_may_be_about() -> None:
    """A validator's miners by uid, each with its nodes; every word that names one of them and nothing else."""
    store = ConsoleStore()
    state = make_engine(role="validator").state
    twin = VerificationView("5Other/gpu-1", "gpu-1", "5Other", 9)
    more = {"5Other": MinerView("5Other", "5Other", 9), "5NoUid": MinerView("5NoUid", "5NoUid")}
    solo, third = (
        VerificationView("5Other/solo", "solo", "5Other", 9),
        VerificationView("5NoUid/gpu-1", "gpu-1", "5NoUid"),
    )
    own: dict[str, View] = {v.id: v for v in (*state.verifications.values(), twin, third, solo)}
    views = {name: dict(rows) for name, rows in state.collections().items()}
    views["miners"] |= more
    views["verifications"] = own
    store.apply_snapshot(Snapshot(views=views, counters={}, at=NOW, log_seq=0))
    ids = subjects_of(store)
    assert ids.index("5Other") < ids.index("5Other/gpu-1") < ids.index("5NoUid")
    assert ids[-2:] == ["5NoUid", "5NoUid/gpu-1"]
    words = words_for_subjects(store)
    assert (words["solo"], words["uid-9"], words["5Other/gpu-1"]) == ("5Other/solo", "5Other", "5Other/gpu-1")
    assert "gpu-1" not in words
    assert [subject_name(store, one) for one in ("5Other", "5NoUid", "5Other/solo", "5Gone")] == [
        "uid 9", "5NoUid", "solo of uid 9", "5Gone",
    ]  # fmt: skip
