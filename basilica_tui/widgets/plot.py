"""A chart in characters, over the plotting widget: redrawn when its points or its size change, and never else."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.color import Color
from textual_plotext import PlotextPlot

from basilica_tui.charts import Plotted, pieces, scale, time_ticks, value_text

_TONES = ("accent", "warn", "good")
"""Of the curves, in their order."""
_ANSI_COLOURS = ("cyan", "yellow", "green")
_TO_ASCII = str.maketrans({
    "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+", "─": "-", "│": "|",
    "█": "#", "▀": "#", "▄": "#", "▌": "#", "▐": "#", "▖": "*", "▗": "*", "▘": "*", "▝": "*", "▙": "#", "▚": "#",
    "▛": "#", "▜": "#", "▞": "#", "▟": "#", "•": "*", "°": " ", "τ": "T",
})  # fmt: skip
VALUE_TICKS = 5
TICK_CELLS = 14


class Plot(PlotextPlot):
    """Block elements by default: braille looks broken in many terminals."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._plotted: Plotted | None = None
        self._sentence = ""
        self._ascii_only = False

    def show(self, plotted: Plotted | None, sentence: str, *, ascii_only: bool) -> None:
        """Draw this, or a sentence in its place; the same again costs nothing."""
        if (plotted, sentence, ascii_only) != (self._plotted, self._sentence, self._ascii_only):
            self._plotted, self._sentence, self._ascii_only = plotted, sentence, ascii_only
            self.refresh()

    def render(self) -> Text:
        """The picture in the widget's size."""
        if self._plotted is None or self.size.width < 20 or self.size.height < 5:
            return Text(f"\n   {self._sentence}", style=self.rich_style)
        if self.app.current_theme.ansi:
            self.theme = "clear"
        self._compose_plot(self._plotted)
        drawn = super().render()
        assert isinstance(drawn, Text)
        if self._ascii_only:
            drawn.plain = drawn.plain.translate(_TO_ASCII)
        return drawn

    def _colours(self) -> Sequence[str | tuple[int, int, int]]:
        """The theme's own, so that a curve can be seen on any ground."""
        theme = self.app.current_theme
        if theme.ansi:
            return _ANSI_COLOURS
        known = self.app.get_css_variables()
        return [Color.parse(known[f"tone-{tone}"]).rgb for tone in _TONES]

    def _compose_plot(self, plotted: Plotted) -> None:
        plt, chart = self.plt, plotted.chart
        plt.clear_figure()
        low, high = scale(chart, plotted.points)
        colours = self._colours()
        for number, (label, points) in enumerate(plotted.curves):
            name: str | None = label if len(plotted.curves) > 1 else None
            for piece in pieces(points, plotted.span, plotted.every_s):
                xs, ys = [at for at, _ in piece], [value for _, value in piece]
                marker = "*" if self._ascii_only else "hd"
                if len(piece) == 1:
                    plt.scatter(xs, ys, label=name, color=colours[number % 3], marker=marker)
                else:
                    plt.plot(xs, ys, label=name, color=colours[number % 3], marker=marker)
                name = None
        plt.xlim(plotted.since, plotted.until)
        plt.ylim(low, high)
        ticks = time_ticks(plotted.since, plotted.until, max(self.size.width // TICK_CELLS, 2))
        plt.xticks([at for at, _ in ticks], [text for _, text in ticks])
        values = [low + (high - low) * i / (VALUE_TICKS - 1) for i in range(VALUE_TICKS)]
        plt.yticks(values, [value_text(v, chart) for v in values])
