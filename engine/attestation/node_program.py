"""Describes the machine it runs on, computes on its GPUs, and signs the result. Needs Python 3.8 and nothing else.

A validator uploads this file anew for each visit. The one argument is a JSON object: ``challenge`` (64 hex digits),
``size`` (matrix dimension) and ``rows`` (how many result rows to show). The output is one JSON document:
challenge, digest of this file, an ephemeral P-256 public key, the facts as JSON text, and the signature over all four.
"""

# Runs on Python 3.8 and knows no other file:
# ruff: noqa: B905, RUF100, UP006, UP035, UP045

from __future__ import annotations

import base64
import ctypes
import glob
import hashlib
import hmac
import json
import os
import platform
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

VERSION = 1
CONTEXT = b"BASILICA_ATTESTATION_V1"
MAX_GPUS = 64
TOOL_LIMIT_S = 15
Facts = Dict[str, Any]
Point = Tuple[int, int, int]

# --- ECDSA over P-256, nonces by RFC 6979 -----------------------------------------------------------------------------

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GENERATOR = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def _double(point: Point) -> Point:
    x, y, z = point
    if not z:
        return point
    delta, gamma = z * z % P, y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    new_x = (alpha * alpha - 8 * beta) % P
    new_z = ((y + z) ** 2 - gamma - delta) % P
    return new_x, (alpha * (4 * beta - new_x) - 8 * gamma * gamma) % P, new_z


def _add(left: Point, right: Point) -> Point:
    if not left[2]:
        return right
    if not right[2]:
        return left
    z1, z2 = left[2] ** 2 % P, right[2] ** 2 % P
    u1, u2 = left[0] * z2 % P, right[0] * z1 % P
    s1, s2 = left[1] * right[2] * z2 % P, right[1] * left[2] * z1 % P
    if u1 == u2:
        return _double(left) if s1 == s2 else (1, 1, 0)
    h, r = (u2 - u1) % P, (s2 - s1) % P
    h2 = h * h % P
    h3, v = h * h2 % P, u1 * h2 % P
    x = (r * r - h3 - 2 * v) % P
    return x, (r * (v - x) - s1 * h3) % P, left[2] * right[2] * h % P


def _multiply(scalar: int) -> Tuple[int, int]:
    result, addend = (1, 1, 0), (GENERATOR[0], GENERATOR[1], 1)
    for place in range(256):
        if scalar >> place & 1:
            result = _add(result, addend)
        addend = _double(addend)
    inverse = pow(result[2], P - 2, P)
    return result[0] * inverse**2 % P, result[1] * inverse**3 % P


def public_key(private: int) -> bytes:
    """The uncompressed point, 65 bytes."""
    x, y = _multiply(private)
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def _nonces(private: int, digest: bytes) -> Iterator[int]:
    key, value = bytes(32), b"\x01" * 32
    seed = private.to_bytes(32, "big") + (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    for mark in (b"\x00", b"\x01"):
        key = hmac.new(key, value + mark + seed, hashlib.sha256).digest()
        value = hmac.new(key, value, hashlib.sha256).digest()
    while True:
        value = hmac.new(key, value, hashlib.sha256).digest()
        nonce = int.from_bytes(value, "big")
        if 0 < nonce < N:
            yield nonce
        key = hmac.new(key, value + b"\x00", hashlib.sha256).digest()
        value = hmac.new(key, value, hashlib.sha256).digest()


def sign(private: int, message: bytes) -> bytes:
    """r and s, 64 bytes; SHA-256."""
    digest = hashlib.sha256(message).digest()
    for nonce in _nonces(private, digest):
        r = _multiply(nonce)[0] % N
        s = pow(nonce, N - 2, N) * (int.from_bytes(digest, "big") + r * private) % N
        if r and s:
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    raise AssertionError("unreachable")


# --- the matrix product -----------------------------------------------------------------------------------------------

_INNER = "\n".join(
    f"    ld.shared.u32 %r20, [%rd8+{4 * k}];\n"
    f"    ld.shared.u32 %r21, [%rd9+{64 * k}];\n"
    "    mad.lo.u32 %r10, %r20, %r21, %r10;"
    for k in range(16)
)
PTX = """
.version 7.0
.target sm_75
.address_size 64

// C = A * B for n x n matrices of unsigned bytes into unsigned 32-bit sums; n is a multiple of 16, blocks are 16 x 16.
.visible .entry basilica_matmul(
    .param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u32 pn
)
{
    .reg .pred %p<2>;
    .reg .b32 %r<24>;
    .reg .b64 %rd<16>;
    .shared .align 4 .b8 tile_a[1024];
    .shared .align 4 .b8 tile_b[1024];

    ld.param.u64 %rd1, [pa];
    ld.param.u64 %rd2, [pb];
    ld.param.u64 %rd3, [pc];
    ld.param.u32 %r1, [pn];
    cvta.to.global.u64 %rd1, %rd1;
    cvta.to.global.u64 %rd2, %rd2;
    cvta.to.global.u64 %rd3, %rd3;
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, %tid.y;
    mov.u32 %r4, %ctaid.x;
    mov.u32 %r5, %ctaid.y;
    shl.b32 %r6, %r4, 4;
    add.u32 %r6, %r6, %r2;
    shl.b32 %r7, %r5, 4;
    add.u32 %r7, %r7, %r3;
    mul.wide.u32 %rd4, %r7, %r1;
    cvt.u64.u32 %rd5, %r6;
    add.u64 %rd6, %rd4, %rd5;
    shl.b64 %rd6, %rd6, 2;
    add.u64 %rd3, %rd3, %rd6;
    add.u64 %rd1, %rd1, %rd4;
    cvt.u64.u32 %rd7, %r2;
    add.u64 %rd1, %rd1, %rd7;
    mul.wide.u32 %rd4, %r3, %r1;
    add.u64 %rd2, %rd2, %rd4;
    add.u64 %rd2, %rd2, %rd5;
    mul.wide.u32 %rd4, %r1, 16;
    mov.u64 %rd8, tile_a;
    mov.u64 %rd9, tile_b;
    shl.b32 %r8, %r3, 6;
    cvt.u64.u32 %rd10, %r8;
    add.u64 %rd8, %rd8, %rd10;
    shl.b32 %r9, %r2, 2;
    cvt.u64.u32 %rd11, %r9;
    add.u64 %rd12, %rd8, %rd11;
    add.u64 %rd9, %rd9, %rd11;
    add.u64 %rd13, %rd9, %rd10;
    mov.u32 %r10, 0;
    shr.u32 %r11, %r1, 4;
TILE:
    ld.global.u8 %r12, [%rd1];
    ld.global.u8 %r13, [%rd2];
    st.shared.u32 [%rd12], %r12;
    st.shared.u32 [%rd13], %r13;
    bar.sync 0;
INNER
    bar.sync 0;
    add.u64 %rd1, %rd1, 16;
    add.u64 %rd2, %rd2, %rd4;
    sub.u32 %r11, %r11, 1;
    setp.ne.u32 %p1, %r11, 0;
    @%p1 bra TILE;
    st.global.u32 [%rd3], %r10;
    ret;
}
""".replace("INNER\n", _INNER + "\n")


def matrix(challenge: str, gpu: object, name: str, size: int) -> bytes:
    """A seeded matrix of bytes, row by row: SHAKE-128 of challenge, GPU number (or "all") and name."""
    seed = f"BASILICA_MATRIX_V1:{challenge}:{gpu}:{name}"
    return hashlib.shake_128(seed.encode()).digest(size * size)


def merkle_levels(leaves: List[bytes]) -> List[List[bytes]]:
    """All levels of the tree over a power of two of leaves, the root last."""
    levels = [[hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]]
    while len(levels[-1]) > 1:
        last = levels[-1]
        pairs = zip(last[::2], last[1::2])
        levels.append([hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs])
    return levels


def sample_rows(challenge: str, gpu: int, root: str, size: int, count: int) -> List[int]:
    """Which rows to show: known only once the whole product is committed to."""
    found: List[int] = []
    number = 0
    while len(found) < min(count, size):
        text = f"BASILICA_ROWS_V1:{challenge}:{gpu}:{root}:{number}"
        place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % size
        if place not in found:
            found.append(place)
        number += 1
    return sorted(found)


def open_rows(challenge: str, gpu: int, product: bytes, size: int, count: int) -> Tuple[str, List[Facts]]:
    """The commitment to a product, and the sampled rows with their places in the tree."""
    width = size * 4
    view = memoryview(product)
    levels = merkle_levels([view[start : start + width].tobytes() for start in range(0, size * width, width)])
    root = levels[-1][0].hex()
    rows = []
    for place in sample_rows(challenge, gpu, root, size, count):
        path = [level[(place >> depth) ^ 1].hex() for depth, level in enumerate(levels[:-1])]
        row = base64.b64encode(view[place * width : (place + 1) * width]).decode()
        rows.append({"row": place, "path": path, "data": row})
    return root, rows


class CudaError(Exception):
    """A call to the driver failed."""


class Cuda:
    """The few calls of the driver API that are needed."""

    def __init__(self) -> None:
        try:
            self.library = ctypes.CDLL("libcuda.so.1")
        except OSError:
            raise CudaError("libcuda.so.1 is not on this machine") from None
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            if self.library.cuGetErrorName(status, ctypes.byref(text)) == 0 and text.value:
                raise CudaError(f"{name}: {text.value.decode('ascii', 'replace')}")
            raise CudaError(f"{name}: error {status}")

    def number(self, name: str, *arguments: Any, kind: Any = ctypes.c_int) -> int:
        value = kind()
        self.call(name, ctypes.byref(value), *arguments)
        return int(value.value)

    def attribute(self, number: int, device: int) -> Optional[int]:
        try:
            return self.number("cuDeviceGetAttribute", number, device)
        except CudaError:
            return None


def _uuid_text(raw: bytes) -> str:
    text = raw.hex()
    return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def device_facts(cuda: Cuda, device: int) -> Facts:
    """What the driver says of one GPU."""
    name = ctypes.create_string_buffer(128)
    cuda.call("cuDeviceGetName", name, 127, device)
    uuid = (ctypes.c_ubyte * 16)()
    cuda.call("cuDeviceGetUuid", uuid, device)
    pci = ctypes.create_string_buffer(32)
    cuda.call("cuDeviceGetPCIBusId", pci, 31, device)
    return {
        "name": name.value.decode("utf-8", "replace"),
        "uuid": _uuid_text(bytes(uuid)),
        "pci_id": pci.value.decode("ascii", "replace"),
        "memory_bytes": cuda.number("cuDeviceTotalMem_v2", device, kind=ctypes.c_size_t),
        "compute_capability": f"{cuda.attribute(75, device)}.{cuda.attribute(76, device)}",
        "multiprocessors": cuda.attribute(16, device),
        "clock_khz": cuda.attribute(13, device),
        "memory_clock_khz": cuda.attribute(36, device),
        "ecc": bool(cuda.attribute(32, device)),
    }


def multiply_on(cuda: Cuda, left: bytes, right: bytes, size: int) -> Tuple[bytes, float]:
    """The product as bytes, with the kernel's milliseconds by the GPU's own events. Needs a current context."""
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    cuda.call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(PTX.encode() + b"\0"))
    cuda.call("cuModuleGetFunction", ctypes.byref(function), module, ctypes.c_char_p(b"basilica_matmul"))
    places = []
    for length in (size * size, size * size, size * size * 4):
        place = ctypes.c_uint64()
        cuda.call("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(length))
        places.append(place)
    for place, source in zip(places, (left, right)):
        cuda.call("cuMemcpyHtoD_v2", place, ctypes.c_char_p(source), ctypes.c_size_t(len(source)))
    dimension = ctypes.c_uint32(size)
    arguments = (ctypes.c_void_p * 4)(*(ctypes.addressof(value) for value in (*places, dimension)))
    began, ended = ctypes.c_void_p(), ctypes.c_void_p()
    for event in (began, ended):
        cuda.call("cuEventCreate", ctypes.byref(event), 0)
    blocks = size // 16
    cuda.call("cuEventRecord", began, None)
    cuda.call("cuLaunchKernel", function, blocks, blocks, 1, 16, 16, 1, 0, None, arguments, None)
    cuda.call("cuEventRecord", ended, None)
    cuda.call("cuCtxSynchronize")
    elapsed = ctypes.c_float()
    cuda.call("cuEventElapsedTime", ctypes.byref(elapsed), began, ended)
    product = ctypes.create_string_buffer(size * size * 4)
    cuda.call("cuMemcpyDtoH_v2", product, places[2], ctypes.c_size_t(size * size * 4))
    return product.raw, elapsed.value


def compute_on(cuda: Cuda, device: int, number: int, task: Facts, right: bytes) -> Facts:
    """One GPU's facts, its product's commitment and sampled rows, and how long it took."""
    found = device_facts(cuda, device)
    context = ctypes.c_void_p()
    cuda.call("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    try:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        cuda.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        found["memory_free_bytes"] = free.value
        size, challenge = task["size"], task["challenge"]
        left = matrix(challenge, number, "A", size)
        before = time.monotonic()
        product, kernel_ms = multiply_on(cuda, left, right, size)
        found["wall_ms"] = round((time.monotonic() - before) * 1000, 3)
        found["kernel_ms"] = round(kernel_ms, 3)
        found["root"], found["rows"] = open_rows(challenge, number, product, size, task["rows"])
    finally:
        cuda.library.cuCtxDestroy_v2(context)
    return found


def compute(task: Facts) -> Facts:
    """The product on every GPU, one after the other."""
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        os.environ.pop(name, None)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    try:
        cuda = Cuda()
        count = cuda.number("cuDeviceGetCount")
        if not count:
            return {"possible": False, "reason": "the driver sees no GPU"}
        version = cuda.number("cuDriverGetVersion")
    except (CudaError, AttributeError) as error:
        return {"possible": False, "reason": str(error)}
    devices = []
    right = matrix(task["challenge"], "all", "B", task["size"])
    for number in range(min(count, MAX_GPUS)):
        try:
            devices.append(compute_on(cuda, cuda.number("cuDeviceGet", number), number, task, right))
        except (CudaError, AttributeError, MemoryError) as error:
            devices.append({"error": str(error) or "out of memory"})
    return {
        "possible": True,
        "cuda": f"{version // 1000}.{version % 1000 // 10}",
        "size": task["size"],
        "devices": devices,
    }


# --- what else the machine says ---------------------------------------------------------------------------------------


def said(*command: str) -> str:
    """A tool's output, empty when it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=TOOL_LIMIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[: 1 << 18].decode("utf-8", "replace") if done.returncode == 0 else ""


def read(path: str, limit: int = 65536) -> str:
    """A file's beginning, empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(limit)
    except OSError:
        return ""


GPU_FIELDS = (
    "index", "uuid", "pci.bus_id", "memory.total", "compute_cap", "driver_version", "ecc.mode.current",
    "clocks.sm", "clocks.mem", "clocks.max.sm", "name",
)  # fmt: skip


def gpus() -> Facts:
    """nvidia-smi's view: one object per GPU, all values as text."""
    table = said("nvidia-smi", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader,nounits")
    rows = []
    for line in table.splitlines()[:MAX_GPUS]:
        parts = [part.strip() for part in line.split(",", len(GPU_FIELDS) - 1)]
        if len(parts) == len(GPU_FIELDS):
            rows.append({name.replace(".", "_"): part[:96] for name, part in zip(GPU_FIELDS, parts)})
    header = re.search(r"CUDA (?:UMD )?Version\s*:\s*(\d{1,3}\.\d{1,3})", said("nvidia-smi"))
    return {"cuda": header.group(1) if header else "", "gpus": rows}


def cpu() -> Facts:
    """Model and counts of the processors."""
    info = read("/proc/cpuinfo", 1 << 20)
    model = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info, re.MULTILINE)
    cores = set(re.findall(r"^physical id\s*:\s*(\d+)\n(?:.*\n)*?core id\s*:\s*(\d+)", info, re.MULTILINE))
    name = model.group(1).strip()[:96] if model else platform.processor() or platform.machine()
    return {"model": name, "threads": os.cpu_count() or 0, "cores": len(cores), "machine": platform.machine()}


def memory() -> Facts:
    """Bytes of main memory."""
    found = dict(re.findall(r"^(MemTotal|MemAvailable|SwapTotal):\s*(\d+) kB", read("/proc/meminfo"), re.MULTILINE))
    return {name: int(value) * 1024 for name, value in found.items()}


VIRTUAL = {"tmpfs", "devtmpfs", "overlay", "squashfs", "proc", "sysfs", "ramfs", "autofs", "efivarfs", "fuse.snapfuse"}


def storage() -> Facts:
    """Each real file system once: device, mount point, bytes."""
    found: Dict[str, Facts] = {}
    for line in read("/proc/self/mounts", 1 << 18).splitlines():
        parts = line.split()
        if len(parts) < 3 or parts[2] in VIRTUAL or parts[2].startswith("cgroup") or not parts[0].startswith("/"):
            continue
        if parts[0] not in found and len(found) < 64:
            try:
                state = os.statvfs(parts[1])
            except OSError:
                continue
            if state.f_blocks:
                found[parts[0]] = {
                    "mount": parts[1][:200], "type": parts[2][:32],
                    "total": state.f_blocks * state.f_frsize, "free": state.f_bavail * state.f_frsize,
                }  # fmt: skip
    root = os.statvfs("/")
    return {
        "root_total": root.f_blocks * root.f_frsize, "root_free": root.f_bavail * root.f_frsize,
        "filesystems": list(found.values()), "disks": _disks(),
    }  # fmt: skip


def _disks() -> Facts:
    sizes = {}
    for path in sorted(glob.glob("/sys/block/*/size"))[:256]:
        name = path.split("/")[3]
        if not re.match(r"(loop|ram|zram|dm-|md|sr)", name):
            text = read(path).strip()
            if text.isdigit() and int(text):
                sizes[name] = int(text) * 512
    return sizes


def docker() -> Facts:
    """The daemon's version, and whether it knows the NVIDIA runtime."""
    if shutil.which("docker") is None:
        return {"installed": False}
    text = said("docker", "info", "--format", "{{json .}}")
    try:
        info = json.loads(text)
        runtimes = sorted(str(name)[:64] for name in info.get("Runtimes") or {})[:16]
        return {"installed": True, "server": str(info.get("ServerVersion", ""))[:64], "runtimes": runtimes}
    except (ValueError, AttributeError):
        return {"installed": True, "server": "", "runtimes": []}


def network() -> Facts:
    """Names and addresses of this machine, nothing from outside."""
    addresses = []
    for path in sorted(glob.glob("/sys/class/net/*/address"))[:64]:
        name = path.split("/")[4]
        if name != "lo":
            addresses.append({"name": name[:32], "mac": read(path).strip()[:17]})
    return {
        "hostname": socket.gethostname()[:128], "interfaces": addresses,
        "addresses": said("hostname", "-I").split()[:64],
        "machine_id": hashlib.sha256(b"basilica:" + read("/etc/machine-id").strip().encode()).hexdigest(),
    }  # fmt: skip


def facts(task: Facts) -> Facts:
    """Everything, as one object."""
    return {
        "clock": time.time(), "kernel": platform.release()[:96], "python": platform.python_version(),
        "nvidia_smi": gpus(), "compute": compute(task), "cpu": cpu(), "memory": memory(), "docker": docker(),
        "storage": storage(), "network": network(),
    }  # fmt: skip


def message(challenge: str, digest: str, key: str, text: str) -> bytes:
    """What is signed."""
    return b"\n".join((CONTEXT, challenge.encode(), digest.encode(), key.encode(), text.encode()))


def main() -> int:
    """Read the task, answer it."""
    task = json.loads(sys.argv[1])
    with open(os.path.abspath(__file__), "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    private = 1 + secrets.randbelow(N - 1)
    key = public_key(private).hex()
    text = json.dumps(facts(task), sort_keys=True, separators=(",", ":"))
    signature = sign(private, message(task["challenge"], digest, key, text)).hex()
    json.dump(
        {
            "version": VERSION, "challenge": task["challenge"], "program_sha256": digest, "public_key": key,
            "facts": text, "signature": signature,
        },
        sys.stdout,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
