"""Plots over time: one chart at a time, of one node or of the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from basilica_tui.charts import SPANS, Chart, Plotted, charts_for, find_chart, value_text
from basilica_tui.exports import export_name, typed_path
from basilica_tui.format import Line, Look
from basilica_tui.lines import join, spread
from basilica_tui.plot_files import FILE_FORMS, plot_file
from basilica_tui.plot_subjects import subject_name, subjects_of, words_for_subjects
from basilica_tui.screens.asking import Asking
from basilica_tui.screens.base import ConsoleScreen
from basilica_tui.store import Dirty
from basilica_tui.text import clean
from basilica_tui.widgets.lines import Lines
from engine.errors import BasilicaError

if TYPE_CHECKING:
    from basilica_tui.app import ConsoleApp
    from basilica_tui.widgets.plot import Plot

REPLAY_STEPS = 240
"""A replay draws anew when the moment moved by so small a part of the span."""
READ_EVERY_S = {"1h": 10.0, "24h": 60.0, "14d": 300.0, "90d": 900.0}


class PlotScreen(ConsoleScreen):
    """Asks the engine for the points of what is chosen, and again now and then."""

    SCREEN_ID = "plot"

    def __init__(self, subject: str = "", chart: str = "", span: str = "24h") -> None:
        super().__init__()
        self._subject = subject
        self._chart_id = chart
        self._span = span
        self._plotted: Plotted | None = None
        self._note = "Asking the engine."
        self._asking = Asking(READ_EVERY_S[span])

    def body(self) -> ComposeResult:
        """A title, the picture, the last values."""
        from basilica_tui.widgets.plot import Plot  # noqa: PLC0415 - a console that plots nothing loads no plotter

        yield Lines(1, id="title")
        yield Plot(id="plot")
        yield Lines(1, id="figures")

    @property
    def _picture(self) -> Plot:
        from basilica_tui.widgets.plot import Plot  # noqa: PLC0415

        return self.query_one(Plot)

    # --- what is chosen ---------------------------------------------------------------------------------------

    @property
    def charts(self) -> list[Chart]:
        """What can be plotted of the object."""
        return charts_for(self.desk.store.engine.role, self._subject)

    @property
    def chart(self) -> Chart:
        """The chart that is shown."""
        return find_chart(self._chart_id, self.charts) or self.charts[0]

    @property
    def subject_name(self) -> str:
        """What people call it."""
        if not self._subject:
            return "fleet" if self.desk.store.engine.role != "validator" else "validator"
        return clean(subject_name(self.desk.store, self._subject))

    def choose(self, subject: str, chart: str = "", span: str = "") -> None:
        """Another object, chart or span."""
        self._subject = subject
        self._chart_id = chart or self._chart_id
        self._span = span or self._span
        self._plotted, self._note = None, "Asking the engine."
        self._asking.forget()
        self.flush(None)

    def _step_chart(self, step: int) -> None:
        charts = self.charts
        at = next((i for i, c in enumerate(charts) if c.id == self.chart.id), 0)
        self.choose(self._subject, charts[(at + step) % len(charts)].id)

    def _step_span(self, step: int) -> None:
        names = [name for name, _ in SPANS]
        at = min(max(names.index(self._span) + step, 0), len(names) - 1)
        if names[at] != self._span:
            self.choose(self._subject, span=names[at])

    def _step_subject(self, step: int) -> None:
        ids = ["", *subjects_of(self.desk.store)]
        at = ids.index(self._subject) if self._subject in ids else 0
        self.choose(ids[(at + step) % len(ids)])

    # --- reading ----------------------------------------------------------------------------------------------

    def _ask_when_due(self) -> None:
        self._asking.every_s, self._asking.step_s = READ_EVERY_S[self._span], dict(SPANS)[self._span] / REPLAY_STEPS
        if self._asking.starts(self.desk.clock.monotonic(), self.desk.store.replay):
            self.desk.start(self._read(self._subject, self.chart, self._span))

    async def _read(self, subject: str, chart: Chart, span: str) -> None:
        now = self.desk.clock.now()
        since = now - dict(SPANS)[span]
        try:
            curves = []
            for curve in chart.curves_for(subject):
                points = await self.desk.link.history(curve.series, subject, since)
                curves.append((curve.label, [p for p in points if p[0] >= since]))
        except BasilicaError as error:
            self._plotted, self._note = None, f"The history cannot be read: {error}"
        else:
            if (subject, chart.id, span) != (self._subject, self.chart.id, self._span):
                return  # something else was chosen meanwhile
            self._plotted = Plotted(chart, self.subject_name, span, since, now, tuple(curves), chart.every_s(subject))
            self._note = "" if self._plotted.points else self._nothing
        finally:
            self._asking.ends()
        if self.is_mounted:
            self.flush(None)

    @property
    def _nothing(self) -> str:
        if self.desk.store.replay is not None:
            return "Nothing was recorded of this in the time before the moment that is shown."
        return "Nothing is known of this yet; the engine notes it from now on."

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, look: Look, dirty: Dirty | None) -> None:
        """The picture changes when points came, the frame when anything else did."""
        self._ask_when_due()
        faded = self.is_faded
        self.query_one("#title", Lines).set_lines([self._title(look)], faded=faded)
        self.query_one("#figures", Lines).set_lines([self._figures(look)], faded=faded)
        self._picture.show(self._plotted if not self._note else None, self._note, ascii_only=look.symbols.is_ascii)

    def _title(self, look: Look) -> Line:
        chart = self.chart
        spans: list[Line] = [((name, "key" if name == self._span else "dim"),) for name, _ in SPANS]
        left = join(
            [((f" {chart.title.upper()} ", "title"), (self.subject_name, "accent")), join(spans, (" ", ""))],
            (f"  {look.symbols.dot}  ", "dim"),
        )
        help_: Line = (("h l span  j k chart  n N node  e file ", "dim"),)
        return spread(left, help_ if self.size.width >= 88 else (), self.size.width, look.symbols.ellipsis)

    def _figures(self, look: Look) -> Line:
        plot = self._plotted
        if plot is None:
            return ()
        parts: list[Line] = []
        for label, points in plot.curves:
            if points:
                values = [value for _, value in points]
                now, low, high = values[-1], min(values), max(values)
                text = (
                    f"{value_text(now, plot.chart)}  ({value_text(low, plot.chart)} to {value_text(high, plot.chart)})"
                )
                parts.append(((f" {label} ", "dim"), (text, "")))
        return spread(join(parts, ("   ", "")), (), self.size.width, look.symbols.ellipsis)

    # --- keys -------------------------------------------------------------------------------------------------

    def perform(self, binding_id: str) -> bool:
        """Charts, spans, nodes, files."""
        steps = {"plot.later": 1, "plot.earlier": -1}
        if binding_id in steps:
            self._step_span(steps[binding_id])
        elif binding_id in {"plot.next", "plot.previous"}:
            self._step_chart(1 if binding_id == "plot.next" else -1)
        elif binding_id in {"plot.node_next", "plot.node_previous"}:
            self._step_subject(1 if binding_id == "plot.node_next" else -1)
        elif binding_id == "export":
            self._export("png")
        else:
            return super().perform(binding_id)
        return True

    def command(self, binding_id: str, argument: str) -> bool:
        """``:export svg PATH``."""
        if binding_id != "export":
            return False
        self._export(argument)
        return True

    def _export(self, argument: str) -> None:
        if self._plotted is None or not self._plotted.points:
            self.desk.say("there is nothing to write yet", "warn")
            return
        first, _, rest = argument.strip().partition(" ")
        form = first if first in FILE_FORMS else Path(argument.strip()).suffix.removeprefix(".") or "png"
        path_text = rest.strip() if first in FILE_FORMS else argument.strip()
        if form not in FILE_FORMS:
            self.desk.say(f"a plot is written as {', '.join(FILE_FORMS)}", "warn")
            return
        plot = self._plotted
        path = typed_path(path_text) if path_text else None
        words = f"{plot.chart.title} of {plot.subject}"
        name = export_name(f"{plot.chart.id}-{plot.subject}-{plot.span}")
        self.desk.save_file(name, plot_file(plot, form), form, path, words)


def open_plot(desk: ConsoleApp, argument: str = "") -> None:
    """Plot what is selected; the words of ``:plot`` name a chart, a span and a node in any order."""
    screen, words = desk.screen, argument.split()
    subject = getattr(screen, "plot_subject", "")
    names = words_for_subjects(desk.store)
    role = desk.store.engine.role
    chart, span = getattr(screen, "plot_chart", ""), ""
    for word in words:
        if word in dict(SPANS):
            span = word
        elif word == "fleet":
            subject = ""
        elif word in names:
            subject = names[word]
        elif (found := find_chart(word, charts_for(role, ""))) is not None:
            chart = found.id
        else:
            desk.say(f"there is no chart, span or node called {word}", "warn")
            return
    if isinstance(screen, PlotScreen):
        screen.choose(subject, chart, span)
    else:
        desk.push_screen(PlotScreen(subject, chart, span or "24h"))
