"""Tests that failed beside others run again by themselves: a fault stays red, an unsteady test is named.

Thousands of tests with real servers, terminals and databases share few cores, so that one of them may meet a moment
that no user would. ``python -m tests.support.again CACHE_DIR`` takes the failures of the last run from pytest's cache.
Up to :data:`MOST` are run :data:`TIMES` times more, one at a time with nothing beside them; each must pass every time.
Their names are printed in any case: an unsteady test is a fault of the test or of the program, and is to be mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MOST = 3
"""More failures than this are no accident."""
TIMES = 3


def failed_in(cache: Path) -> tuple[str, ...]:
    """Ids of the tests that failed in the run that wrote this cache directory; empty where it tells none."""
    try:
        found = json.loads((cache / "v" / "cache" / "lastfailed").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(sorted(found)) if isinstance(found, dict) else ()


def run_alone(test: str, options: Sequence[str] = ()) -> bool:
    """Whether this one test passes in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *options, test]
    return subprocess.run(command, check=False).returncode == 0


def judge(failed: Sequence[str], options: Sequence[str] = ()) -> int:
    """The exit status of the whole: 0 when each failure of a few passes alone, every time."""
    if not failed or len(failed) > MOST:
        return 1
    for test in failed:
        for number in range(1, TIMES + 1):
            if not run_alone(test, options):
                print(f"again: {test} fails by itself too (try {number} of {TIMES})", flush=True)
                return 1
    for test in failed:
        print(f"again: UNSTEADY: {test} failed beside others and passed {TIMES} times alone; mend it", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(judge(failed_in(Path(sys.argv[1]))))
