"""A plot as a picture in a file, SVG or PNG. Draws in memory: no display, no network."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from html import escape

from basilica_tui.charts import Plotted, pieces, plot_csv, scale, time_ticks, value_text
from basilica_tui.text import clean

WIDTH, HEIGHT = 1000, 420
LEFT, RIGHT, TOP, BOTTOM = 90, 30, 50, 50
COLOURS = ("#0550ae", "#b35900", "#116329")
INK, FAINT, PAPER = "#24292f", "#d0d7de", "#ffffff"
VALUE_TICKS = 5
TIME_TICKS = 8

FILE_FORMS = ("png", "svg", "csv")

Place = Callable[[float, float], tuple[float, float]]


def plot_file(plot: Plotted, form: str) -> str | bytes:
    """The plot in one of ``FILE_FORMS``."""
    if form == "png":
        return plot_png(plot)
    return plot_svg(plot) if form == "svg" else plot_csv(plot)


def plot_svg(plot: Plotted) -> str:
    """The plot as an SVG document of 1000 by 420."""
    place, values, times = _frame(plot)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        f'<text x="{LEFT}" y="28" font-size="16" fill="{INK}">{escape(heading(plot))}</text>',
    ]
    for x, y, text in values:
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{FAINT}"/>')
        out.append(f'<text x="{x}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{escape(text)}</text>')
    for x, y, text in times:
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="{FAINT}"/>')
        out.append(f'<text x="{x:.1f}" y="{y + 12:.1f}" text-anchor="middle" fill="{INK}">{escape(text)}</text>')
    for number, (label, points) in enumerate(plot.curves):
        colour = COLOURS[number % len(COLOURS)]
        for piece in pieces(points, plot.span, plot.every_s):
            dots = " ".join(f"{x:.1f},{y:.1f}" for x, y in _line(place, piece))
            out.append(f'<polyline points="{dots}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = LEFT + 8 + number * 220
        out.append(f'<text x="{x}" y="{HEIGHT - 10}" fill="{colour}">{escape(clean(label))}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def plot_png(plot: Plotted) -> bytes:
    """The plot as a PNG of 1000 by 420 pixels."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - loaded when a picture is asked for

    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(13), ImageFont.load_default(16)
    place, values, times = _frame(plot)
    draw.text((LEFT, 28), heading(plot), fill=INK, font=large, anchor="ls")
    for x, y, text in values:
        draw.line((LEFT, y, WIDTH - RIGHT, y), fill=FAINT)
        draw.text((x, y), text, fill=INK, font=small, anchor="rm")
    for x, y, text in times:
        draw.line((x, TOP, x, HEIGHT - BOTTOM), fill=FAINT)
        draw.text((x, y + 12), text, fill=INK, font=small, anchor="ms")
    for number, (label, points) in enumerate(plot.curves):
        colour = COLOURS[number % len(COLOURS)]
        for piece in pieces(points, plot.span, plot.every_s):
            draw.line(_line(place, piece), fill=colour, width=2)
        draw.text((LEFT + 8 + number * 220, HEIGHT - 10), clean(label), fill=colour, font=small, anchor="ls")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def heading(plot: Plotted) -> str:
    """What, of whom, from when to when."""
    form = "%Y-%m-%d %H:%M"
    since, until = (time.strftime(form, time.localtime(at)) for at in (plot.since, plot.until))
    return f"{plot.chart.title} · {clean(plot.subject)} · {since} to {until}"


def _frame(plot: Plotted) -> tuple[Place, list[tuple[float, float, str]], list[tuple[float, float, str]]]:
    """Where a point goes, and the ticks of both axes as x, y and text."""
    low, high = scale(plot.chart, plot.points)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(at: float, value: float) -> tuple[float, float]:
        x = LEFT + (at - plot.since) / max(plot.until - plot.since, 1.0) * width
        return x, TOP + height - (min(max(value, low), high) - low) / (high - low) * height

    steps = [low + (high - low) * i / (VALUE_TICKS - 1) for i in range(VALUE_TICKS)]
    values = [(LEFT - 8.0, place(plot.since, v)[1], value_text(v, plot.chart)) for v in steps]
    times = [
        (place(at, low)[0], HEIGHT - BOTTOM + 6.0, text) for at, text in time_ticks(plot.since, plot.until, TIME_TICKS)
    ]
    return place, values, times


def _line(place: Place, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A polyline; a lonely point becomes a short stroke, or nobody would see it."""
    placed = [place(at, value) for at, value in points]
    return placed if len(placed) > 1 else [(placed[0][0] - 1.5, placed[0][1]), (placed[0][0] + 1.5, placed[0][1])]
