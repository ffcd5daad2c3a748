"""What a console leaves behind when it stops by a mistake of its own: a report without secrets, and how to send it."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from basilica_tui.clipboard import osc52
from basilica_tui.text import clean
from engine.config.masking import mask_text
from engine.recording.pseudonyms import Pseudonyms
from engine.version import __version__

REPORTS_KEPT = 10
EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h."""
_FILE = re.compile(r'File "([^"]+)"')
_ROOT = Path(__file__).parents[1]
_VARIABLES = ("TERM", "COLORTERM", "LANG", "LC_ALL", "NO_COLOR", "TMUX", "SSH_TTY")


def crash_report(error: BaseException, about: Mapping[str, object], env: Mapping[str, str], now: float) -> str:
    """What happened and where, as text: names are stand-ins, passwords are stars, local variables are not in it."""
    where = {name: "set" if name in {"TMUX", "SSH_TTY"} else env[name] for name in _VARIABLES if env.get(name)}
    facts = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "basilica-tui": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        **where,
        **about,
    }
    head = "\n".join(f"{name}: {' '.join(str(value).split())}" for name, value in facts.items())
    trace = _FILE.sub(lambda m: f'File "{_module_of(m[1])}"', "".join(traceback.format_exception(error)))
    return Pseudonyms().text(mask_text(f"basilica-tui crash report\n\n{head}\n\n{trace}"))


def _module_of(file: str) -> str:
    """A traceback's file below this project, below the libraries, or its name alone: folders would say whose it is."""
    for root in (*(p for p in map(Path, sys.path) if p.name == "site-packages"), _ROOT):
        if Path(file).is_relative_to(root):
            return str(Path(file).relative_to(root))
    return Path(file).name


def last_place(error: BaseException) -> str:
    """``KeyError: 'x' (nodes.py:12)``: the last of our own lines that it passed."""
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "basilica_tui" in frame.filename or "engine" in frame.filename
    ]
    place = f" ({Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
    return clean(Pseudonyms().text(mask_text(f"{type(error).__name__}: {error}")))[:300] + place


def save_report(folder: Path, text: str, now: float) -> Path:
    """Write it, mode 0600, and let the oldest ones go. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"crash-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}.txt"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    for old in sorted(folder.glob("crash-*.txt"))[:-REPORTS_KEPT]:
        old.unlink(missing_ok=True)
    return path


def tell(error: BaseException, about: Mapping[str, object], folder: Path) -> int:
    """Save the report, say so on the terminal that is the operator's again, and offer to copy it; the exit status."""
    now = time.time()
    text = crash_report(error, about, os.environ, now)
    lines = [
        "",
        "basilica-tui: the console stopped because of a mistake of its own. The engine keeps running.",
        f"  {last_place(error)}",
    ]
    try:
        path = save_report(folder, text, now)
        lines.append(f"  report: {path}   (addresses, hotkeys and passwords are not in it)")
    except OSError as failure:
        lines += [f"  the report could not be saved in {folder}: {failure.strerror or failure}", "", text]
    lines.append("  to send it with what surrounds it:  basilica-tui support-bundle --output bundle.tar.gz")
    sys.stderr.write("\n".join(lines) + "\n")
    _offer_copy(text)
    return EXIT_CODE


def _offer_copy(text: str) -> None:
    sequence = osc52(text, os.environ)
    if sequence is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    sys.stderr.write("c and Enter copies the report to the terminal's clipboard (OSC 52), Enter leaves: ")
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline().strip().lower()
    except (OSError, KeyboardInterrupt):
        return
    if answer == "c":
        sys.stderr.write(sequence + "sent to the clipboard\n")
        sys.stderr.flush()
