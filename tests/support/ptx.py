"""A very small emulator of PTX: the instructions of our one kernel, threads in lock step between barriers."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

M32, M64 = (1 << 32) - 1, (1 << 64) - 1


class Kernel:
    """One entry function with its labels and shared variables."""

    def __init__(self, text: str) -> None:
        body = re.sub(r"//.*", "", text)
        body = body[body.index("{") + 1 : body.rindex("}")]
        self.parameters = re.findall(r"\.param \.u\d+ (\w+)", text)
        self.shared: dict[str, int] = {}
        self.code: list[tuple[str, str, list[str]]] = []
        self.labels: dict[str, int] = {}
        for statement in re.split(r"[;\n]", body.replace(":", ":;")):
            self._read(statement.strip())

    def _read(self, line: str) -> None:
        if found := re.fullmatch(r"\.shared \.align \d+ \.b8 (\w+)\[(\d+)\]", line):
            self.shared[found[1]] = 1024 * len(self.shared)
            assert int(found[2]) == 1024
        elif line.endswith(":"):
            self.labels[line[:-1]] = len(self.code)
        elif line and not line.startswith("."):
            found = re.fullmatch(r"(?:@(%p\d+) )?(\S+)\s*(.*)", line)
            assert found
            self.code.append((found[1] or "", found[2], [word.strip() for word in found[3].split(",") if word]))

    def run(self, grid: tuple[int, int], block: tuple[int, int], values: list[int], memory: bytearray) -> None:
        """All blocks one after the other."""
        for cy in range(grid[1]):
            for cx in range(grid[0]):
                shared = bytearray(1024 * len(self.shared))
                threads = [
                    self._thread({"%tid.x": x, "%tid.y": y, "%ctaid.x": cx, "%ctaid.y": cy}, values, memory, shared)
                    for y in range(block[1])
                    for x in range(block[0])
                ]
                while threads:
                    threads = [thread for thread in threads if next(thread, None)]

    def _thread(self, r: dict[str, int], values: list[int], memory: bytearray, shared: bytearray) -> Iterator[bool]:
        parameters = dict(zip(self.parameters, values, strict=True))

        def get(word: str) -> int:
            if word in self.shared:
                return self.shared[word]
            return r[word] if word.startswith("%") else int(word)

        def at(word: str) -> int:
            base, _, offset = word.strip("[]").partition("+")
            return get(base) + int(offset or 0)

        place = 0
        while True:
            guard, name, a = self.code[place]
            place += 1
            if guard and not r[guard]:
                continue
            match name:
                case "ld.param.u64" | "ld.param.u32":
                    r[a[0]] = parameters[a[1].strip("[]")]
                case "cvta.to.global.u64" | "mov.u32" | "mov.u64" | "cvt.u64.u32":
                    r[a[0]] = get(a[1])
                case "shl.b32":
                    r[a[0]] = get(a[1]) << get(a[2]) & M32
                case "shl.b64":
                    r[a[0]] = get(a[1]) << get(a[2]) & M64
                case "shr.u32":
                    r[a[0]] = get(a[1]) >> get(a[2])
                case "add.u32":
                    r[a[0]] = get(a[1]) + get(a[2]) & M32
                case "add.u64":
                    r[a[0]] = get(a[1]) + get(a[2]) & M64
                case "sub.u32":
                    r[a[0]] = get(a[1]) - get(a[2]) & M32
                case "mul.wide.u32":
                    r[a[0]] = get(a[1]) * get(a[2])
                case "mad.lo.u32":
                    r[a[0]] = get(a[1]) * get(a[2]) + get(a[3]) & M32
                case "setp.ne.u32":
                    r[a[0]] = int(get(a[1]) != get(a[2]))
                case "ld.global.u8":
                    r[a[0]] = memory[at(a[1])]
                case "ld.shared.u32":
                    (r[a[0]],) = struct.unpack_from("<I", shared, at(a[1]))
                case "st.shared.u32":
                    struct.pack_into("<I", shared, at(a[0]), get(a[1]))
                case "st.global.u32":
                    struct.pack_into("<I", memory, at(a[0]), get(a[1]))
                case "bar.sync":
                    yield True
                case "bra":
                    place = self.labels[a[0]]
                case "ret":
                    return
                case _:
                    raise AssertionError(name)
