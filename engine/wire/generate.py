"""Writes the stubs beside this file from ``proto/``: ``python -m engine.wire.generate [TARGET]``.

protoc imports by proto package (``basilca.common.v1``); ours live inside ``engine.wire``, so every import of
them is rewritten. The descriptors, and with them the names on the wire, stay as protoc made them.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "proto"
TARGET = Path(__file__).parent
PACKAGES = ("basilca", "basilica")

_OWN_IMPORT = re.compile(rf"^(from|import) ({'|'.join(PACKAGES)})\b", re.MULTILINE)
_NOTE = '"""Generated from proto/ by engine.wire.generate; never edited."""\n'


def generate(target: Path = TARGET) -> list[Path]:
    """Replace the generated packages under ``target``; returns the files written, sorted.

    Raises:
        RuntimeError: protoc refused the sources.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _run_protoc(Path(scratch))
        written = []
        for package in PACKAGES:
            shutil.rmtree(target / package, ignore_errors=True)
            for stub in sorted((Path(scratch) / package).rglob("*.py*")):
                place = target / stub.relative_to(scratch)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(_OWN_IMPORT.sub(r"\1 engine.wire.\2", stub.read_text()))
                written.append(place)
            for folder in (target / package, *(p for p in (target / package).rglob("*") if p.is_dir())):
                if folder.name != "__pycache__":
                    (folder / "__init__.py").write_text(_NOTE)
                    written.append(folder / "__init__.py")
    return sorted(written)


def _run_protoc(out: Path) -> None:
    from grpc_tools import protoc  # noqa: PLC0415 - a development tool; the module itself must import without it

    well_known = resources.files("grpc_tools") / "_proto"
    sources = sorted(str(path) for path in SOURCES.rglob("*.proto"))
    arguments = [f"-I{SOURCES}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}"]
    arguments.append(f"--grpc_python_out={out}")
    if protoc.main(["protoc", *arguments, *sources]) != 0:
        raise RuntimeError("protoc refused the sources in proto/")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
