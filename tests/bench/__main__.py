"""``python -m tests.bench [NAME…]``."""

from __future__ import annotations

import importlib
import logging
import os
import sys

import structlog

from tests.bench import row

BENCHES = ("command", "daemon", "console", "door", "deployment", "idle", "sweep", "history", "rest")


def main(names: list[str]) -> None:
    unknown = set(names) - set(BENCHES)
    if unknown:
        sys.exit(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # figures only
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start; Python {sys.version.split()[0]}")
    for name in names or BENCHES:
        for figure in importlib.import_module(f"tests.bench.{name}").measure():
            print(row(figure), flush=True)


main(sys.argv[1:])
