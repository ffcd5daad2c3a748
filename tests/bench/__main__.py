"""``python -m tests.bench [--json] [NAME…]``."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
import traceback

import structlog

from tests.bench import HEADER, Figure, row

BENCHES = (
    *("command", "daemon", "console", "terminal", "door", "flood", "deployment", "idle", "sweep"),
    *("history", "rest", "doctor", "validator"),
)


def main(arguments: list[str]) -> None:
    as_json = "--json" in arguments
    names = [name for name in arguments if name != "--json"]
    unknown = set(names) - set(BENCHES)
    if unknown:
        sys.exit(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # figures only
    about = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "python": sys.version.split()[0]}
    if not as_json:
        print(f"{about['cores']} cores, load {about['load']:.1f} at the start; Python {about['python']}\n\n{HEADER}")
    figures: list[Figure] = []
    began = time.monotonic()
    for name in names or BENCHES:
        for figure in _measured(name):
            figures.append(figure)
            if not as_json:
                print(row(figure), flush=True)
    missed = sum(figure.verdict == "MISSED" for figure in figures)
    took_s = round(time.monotonic() - began)
    if as_json:
        print(json.dumps(about | {"took_s": took_s, "missed": missed, "figures": [f.as_json() for f in figures]}))
    else:
        print(f"\n{len(figures)} figures in {took_s} s, {missed} missed")


def _measured(name: str) -> list[Figure]:
    """One bench's figures; one that breaks says so and lets the others run."""
    try:
        figures: list[Figure] = importlib.import_module(f"tests.bench.{name}").measure()
    except Exception as error:  # noqa: BLE001 - whatever broke, the rest is still worth measuring
        traceback.print_exc(limit=3)
        return [Figure(name, None, note=f"{type(error).__name__}: {error}"[:200])]
    return figures


main(sys.argv[1:])
