"""The console's colours: dark, light, the terminal's own palette, high contrast, without red and green."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from textual.theme import Theme

TONES = ("good", "warn", "bad", "dim", "accent", "title", "key")


def _tones(*colours: str) -> dict[str, str]:
    """Theme variables for the tones, in their order."""
    return {f"tone-{name}": colour for name, colour in zip(TONES, colours, strict=True)}


DARK_TONES = _tones("#7fc98f", "#e5b567", "#f07178", "#8b949e", "#79b8ff", "#f0f3f6", "#b392f0")

THEMES: tuple[Theme, ...] = (
    Theme(
        name="dark", primary="#79b8ff", secondary="#b392f0", accent="#79b8ff", foreground="#c9d1d9",
        background="#0d1117", surface="#0d1117", panel="#161b22", success="#7fc98f", warning="#e5b567",
        error="#f07178", dark=True, variables={**DARK_TONES, "cursor-row": "#1f2a3a", "edge": "#30363d"},
    ),
    Theme(
        name="light", primary="#0550ae", secondary="#6639ba", accent="#0550ae", foreground="#24292f",
        background="#ffffff", surface="#ffffff", panel="#f3f4f6", success="#116329", warning="#7d4e00",
        error="#b3151f", dark=False,
        variables={
            **_tones("#116329", "#7d4e00", "#b3151f", "#59626c", "#0550ae", "#0d1117", "#6639ba"),
            "cursor-row": "#dbe9f9", "edge": "#d0d7de",
        },
    ),
    Theme(
        name="high-contrast", primary="#ffffff", secondary="#ffff00", accent="#00ffff", foreground="#ffffff",
        background="#000000", surface="#000000", panel="#000000", success="#00ff66", warning="#ffff00",
        error="#ff6666", dark=True,
        variables={
            **_tones("#00ff66", "#ffff00", "#ff6666", "#d0d0d0", "#00ffff", "#ffffff", "#ffff00"),
            "cursor-row": "#00285f", "edge": "#ffffff",
        },
    ),
    Theme(
        name="deuteranopia", primary="#56b4e9", secondary="#cc79a7", accent="#56b4e9", foreground="#d5dae0",
        background="#10131a", surface="#10131a", panel="#1a1f29", success="#56b4e9", warning="#f0e442",
        error="#ff9e4a", dark=True,
        variables={
            **_tones("#6cb6ff", "#f0e442", "#ff9e4a", "#969da8", "#a8d1ff", "#f5f7fa", "#d6a5e0"),
            "cursor-row": "#24314a", "edge": "#3a414d",
        },
    ),
    Theme(
        name="ansi", ansi=True, primary="ansi_blue", secondary="ansi_cyan", accent="ansi_cyan",
        foreground="ansi_default", background="ansi_default", surface="ansi_default", panel="ansi_default",
        boost="ansi_default", success="ansi_green", warning="ansi_yellow", error="ansi_red", dark=True,
        variables={
            **_tones("ansi_green", "ansi_yellow", "ansi_red", "ansi_bright_black", "ansi_cyan", "ansi_default",
                     "ansi_magenta"),
            "cursor-row": "ansi_default", "edge": "ansi_bright_black",
            "ansi-background": "ansi_black", "ansi-foreground": "ansi_white",
            "input-cursor-background": "ansi_default", "input-cursor-foreground": "ansi_default",
            "input-cursor-text-style": "reverse",
        },
    ),
)  # fmt: skip

THEME_NAMES = tuple(theme.name for theme in THEMES)


def make_theme(name: str, colours: Mapping[str, str], *, dark: bool = True) -> Theme:
    """An operator's own theme: what they do not name comes from dark or light."""
    base = THEMES[0] if dark else THEMES[1]
    variables = dict(base.variables)
    variables |= {f"tone-{tone}": colours[tone] for tone in TONES if tone in colours}
    variables |= {"cursor-row": colours.get("cursor", variables["cursor-row"])}
    variables |= {"edge": colours.get("edge", variables["edge"])}
    background = colours.get("background", base.background)
    return replace(
        base,
        name=name,
        foreground=colours.get("foreground", base.foreground),
        background=background,
        surface=background,
        panel=colours.get("panel", base.panel),
        variables=variables,
        dark=dark,
    )


def choose_theme(wanted: str | None, env: Mapping[str, str]) -> str:
    """The theme asked for; else the terminal's own palette over SSH without COLORTERM, dark otherwise."""
    if wanted in THEME_NAMES:
        return wanted
    return "ansi" if env.get("SSH_TTY") and not env.get("COLORTERM") else "dark"
