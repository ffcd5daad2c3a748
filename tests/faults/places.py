"""Things that only root can make: dead links, small disks, other clocks. Each says why it cannot be had."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_NUMBERS = itertools.count(1)


def run(*command: str) -> None:
    """Run a program that must succeed."""
    subprocess.run(command, check=True, capture_output=True, text=True)


def need_root(what: str) -> None:
    """Skip, with the reason, where the test cannot be what it should be."""
    if os.geteuid() != 0:
        pytest.skip(f"{what} needs root")


@functools.cache
def faketime_library() -> str:
    """Path of libfaketime for multi-threaded programs; empty where it is not installed."""
    for place in (*Path("/usr/lib").glob("*/faketime"), Path("/usr/lib/faketime"), Path("/usr/local/lib/faketime")):
        if (place / "libfaketimeMT.so.1").exists():
            return str(place / "libfaketimeMT.so.1")
    return ""


class Clockwork:
    """A wall clock that the test moves: processes with ``environment`` read it from a file, every second at most."""

    def __init__(self, directory: Path) -> None:
        if not faketime_library():
            pytest.skip("libfaketime is not installed (Debian: apt-get install faketime)")
        directory.chmod(0o755)  # a node's account reads it too
        self.file = directory / f"clock-{next(_NUMBERS)}"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": faketime_library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",  # asking the file at every question would slow an engine down by far
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    @property
    def words(self) -> tuple[str, ...]:
        """In front of a command."""
        return ("env", *(f"{name}={value}" for name, value in self.environment.items()))

    def set(self, offset_s: int) -> None:
        """So far from the true time, from now on."""
        young = self.file.with_suffix(".new")
        young.write_text(f"{offset_s:+d}\n")
        young.chmod(0o644)
        young.replace(self.file)


class Link:
    """A network namespace behind a veth pair: ``host`` is its address; the far side goes down and up."""

    def __init__(self) -> None:
        number = next(_NUMBERS)
        self.name = f"bf{os.getpid() % 100000}x{number}"
        self.host = f"10.77.{number % 250 + 1}.2"
        near, far = f"{self.name}a"[-15:], f"{self.name}b"[-15:]
        self._far = far
        run("ip", "netns", "add", self.name)
        try:
            run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
            run("ip", "addr", "add", f"10.77.{number % 250 + 1}.1/30", "dev", near)
            run("ip", "link", "set", near, "up")
            run("ip", "-n", self.name, "addr", "add", f"{self.host}/30", "dev", far)
            run("ip", "-n", self.name, "link", "set", far, "up")
        except subprocess.CalledProcessError as error:
            self.remove()
            pytest.skip(f"no veth pairs here: {error.stderr.strip()}")

    @property
    def words(self) -> tuple[str, ...]:
        """In front of a command that should live behind the link."""
        return ("nsenter", f"--net=/var/run/netns/{self.name}")

    def down(self) -> None:
        """Nothing gets through, and nobody is told."""
        run("ip", "-n", self.name, "link", "set", self._far, "down")

    def up(self) -> None:
        """As before."""
        run("ip", "-n", self.name, "link", "set", self._far, "up")

    def remove(self) -> None:
        """Take it away, both ends."""
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


@contextlib.contextmanager
def link() -> Iterator[Link]:
    """A link for the length of a block."""
    need_root("a network namespace")
    if shutil.which("ip") is None:
        pytest.skip("the ip program is not installed (Debian: apt-get install iproute2)")
    made = Link()
    try:
        yield made
    finally:
        made.remove()


@contextlib.contextmanager
def small_disk(directory: Path, size_kib: int) -> Iterator[Path]:
    """A file system of that size mounted there."""
    need_root("a file system of its own")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k,mode=700", "tmpfs", str(directory)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"no mounts here: {made.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], capture_output=True, check=False)


def fill(directory: Path) -> Path:
    """Write until nothing fits; returns the file to delete again."""
    stuffing = directory / "stuffing"
    with stuffing.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    if file.write(bytes(size)) < size:
                        break
    return stuffing
