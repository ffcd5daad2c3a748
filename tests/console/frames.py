"""What a console shows as text: the characters once, and what each theme makes of them as runs of styles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.color import Color, ColorType
from rich.style import Style
from textual.app import App

RULES = " ─│╭╮╰╯┌┐└┘━┃▁▂▃▄▅▆▇█▊▎▔"
"""What draws lines, frames and scroll bars: nothing that is read."""
Run = tuple[int, str]
"""How many cells, and their style in words."""


@dataclass(frozen=True)
class Frame:
    """One picture: its lines, and the runs of styles of each line."""

    lines: tuple[str, ...]
    runs: tuple[tuple[Run, ...], ...]

    @property
    def styles(self) -> set[str]:
        """All styles on something that can be seen."""
        return {style for line in self.runs for _, style in line}


def frame_of(app: App[Any]) -> Frame:
    """The screen as the compositor has it; blanks have no foreground."""
    lines, runs = [], []
    for strip in app.screen._compositor.render_strips():
        lines.append(strip.text)
        found: list[Run] = []
        for segment in strip:
            words = style_words(segment.style, is_blank=not segment.text.strip())
            if segment.text.strip() and not segment.text.strip(RULES):
                words += " rule"
            cells = segment.cell_length
            if found and found[-1][1] == words:
                found[-1] = (found[-1][0] + cells, words)
            else:
                found.append((cells, words))
        runs.append(tuple(found))
    return Frame(tuple(lines), tuple(runs))


def style_words(style: Style | None, *, is_blank: bool = False) -> str:
    """``#rrggbb on #rrggbb bold``, or the terminal's own names of colours."""
    if style is None:
        return "-"
    marks = [name for name in ("bold", "underline", "reverse", "dim", "italic") if getattr(style, name)]
    fore = "" if is_blank else _colour(style.color)
    return " ".join(part for part in (fore, f"on {_colour(style.bgcolor)}", *marks) if part)


def _colour(colour: Color | None) -> str:
    if colour is None or colour.type is ColorType.DEFAULT:
        return "default"
    return colour.name if colour.type is not ColorType.TRUECOLOR else colour.get_truecolor().hex


def written(frame: Frame) -> str:
    """A file: the text, then the styles by letter and the runs of every line."""
    letters = {style: _letter(number) for number, style in enumerate(sorted(frame.styles))}
    parts = [line.rstrip() for line in frame.lines]
    parts += ["===", *(f"{letter} {style}" for style, letter in letters.items())]
    parts += [" ".join(f"{letters[style]}{cells}" for cells, style in line) for line in frame.runs]
    return "\n".join(parts) + "\n"


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else f"{chr(ord('a') + number // 26 - 1)}{chr(ord('a') + number % 26)}"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours as WCAG 2 defines it, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def pairs(frame: Frame) -> Iterator[tuple[str, str]]:
    """Foreground and background of everything that is written in colours of our own."""
    for style in frame.styles:
        words = style.split()
        if "rule" not in words and "on" in words[1:2] and words[0].startswith("#") and words[2].startswith("#"):
            yield (words[2], words[0]) if "reverse" in words else (words[0], words[2])
