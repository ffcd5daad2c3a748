"""The format of a recording: blocks that stand by themselves, so that a damaged one costs nothing but itself.

A file is a line with the format's name, then blocks. A block is a header of 36 bytes and a Zstandard frame of JSON:
a keyframe (the whole live state at one time), events, or buckets of the time series, one object per line. All but
keyframes are compressed with the tail of the keyframe before them as a dictionary, which makes small blocks small:
40 bytes an event instead of 334.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import zstandard

from engine.errors import RecordingUnreadable

FILE_HEAD: Final = b"basilica-recording 1\n"
FILE_KIND: Final = b"basilica-recording "
SUFFIX: Final = ".brec"
KEYFRAME: Final = 1
EVENTS: Final = 2
SERIES: Final = 3
TROUBLE: Final = 1
"""Flag of a block that holds an error or an alert."""
PLAIN: Final = 2
"""Flag of a block in which nothing happened that anybody looks back for, only what comes every minute."""
BASE: Final = 4
"""Flag of a block of series that begins with all that was known before the recording."""
DICTIONARY_BYTES: Final = 128 * 1024
BLOCK_BYTES: Final = 64 * 1024 * 1024
"""No block is larger, packed or unpacked: the file may come from somebody else."""
LEVEL: Final = 3

_MARK: Final = b"\xb1REC"
_HEADER: Final = struct.Struct(">4sBBHIIIdd")


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What can be known of a block without unpacking it; ``size`` is that of the packed bytes after the header."""

    kind: int
    flags: int
    count: int
    size: int
    crc: int
    first_at: float
    last_at: float
    offset: int = 0
    """Where the header begins in its file."""

    @property
    def has_trouble(self) -> bool:
        """Whether it holds an error or an alert."""
        return bool(self.flags & TROUBLE)

    @property
    def is_plain(self) -> bool:
        """Whether it holds only what comes all the time; not said by what earlier versions wrote."""
        return bool(self.flags & PLAIN)


def dictionary_of(keyframe: bytes) -> bytes:
    """The dictionary of the event blocks that follow this keyframe."""
    return keyframe[-DICTIONARY_BYTES:]


class Packer:
    """Packs blocks; keeps the dictionary prepared, which takes longer than packing a block."""

    def __init__(self, dictionary: bytes = b"") -> None:
        known = None
        if dictionary:
            known = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
            known.precompute_compress(level=LEVEL)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=known)

    def pack(self, kind: int, raw: bytes, *, first_at: float, last_at: float, count: int, flags: int = 0) -> bytes:
        """A block's bytes."""
        packed = self._compressor.compress(raw)
        crc = zlib.crc32(packed, zlib.crc32(struct.pack(">BBIdd", kind, flags, count, first_at, last_at)))
        return _HEADER.pack(_MARK, kind, flags, 0, count, len(packed), crc, first_at, last_at) + packed


def unpack_block(header: BlockHeader, packed: bytes, dictionary: bytes = b"") -> bytes:
    """What ``Packer.pack`` was given.

    Raises:
        RecordingUnreadable: the block is damaged, or larger than any block may be.
    """
    checked = struct.pack(">BBIdd", header.kind, header.flags, header.count, header.first_at, header.last_at)
    if len(packed) != header.size or zlib.crc32(packed, zlib.crc32(checked)) != header.crc:
        raise RecordingUnreadable(f"the block at byte {header.offset} is damaged")
    try:
        if zstandard.get_frame_parameters(packed).content_size > BLOCK_BYTES:
            raise RecordingUnreadable(f"the block at byte {header.offset} is larger than any block may be")
        known = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        packer = zstandard.ZstdDecompressor(dict_data=known if header.kind != KEYFRAME and dictionary else None)
        return packer.decompress(packed, max_output_size=BLOCK_BYTES)
    except zstandard.ZstdError as error:
        raise RecordingUnreadable(f"the block at byte {header.offset} cannot be unpacked: {error}") from None


def check_head(file: BinaryIO, name: str) -> None:
    """Read the first line of a file.

    Raises:
        RecordingUnreadable: it is no recording, cut off before anything was in it, or one of a newer format.
    """
    head = file.read(len(FILE_HEAD))
    if head == FILE_HEAD:
        return
    if head and FILE_HEAD.startswith(head):
        raise RecordingUnreadable(f"{name} is cut off within its first line", hint="copy it again, whole")
    if head.startswith(FILE_KIND):
        raise RecordingUnreadable(
            f"{name} is a recording of a newer format", hint="upgrade basilica-tui and open it again"
        )
    raise RecordingUnreadable(f"{name} is not a recording", hint="give a .brec file or the directory of an engine")


def headers(file: BinaryIO, size: int) -> Iterator[BlockHeader]:
    """The headers of all whole blocks in a file of that size; damaged bytes are skipped to the next mark."""
    offset = len(FILE_HEAD)
    while offset + _HEADER.size <= size:
        file.seek(offset)
        header = _parse(file.read(_HEADER.size), offset)
        if header is None or header.offset + _HEADER.size + header.size > size:
            found = _next_mark(file, offset + 1, size)
            if found is None:
                return
            offset = found
            continue
        yield header
        offset += _HEADER.size + header.size


def read_block(file: BinaryIO, header: BlockHeader, dictionary: bytes = b"") -> bytes:
    """A block's content. Raises RecordingUnreadable."""
    file.seek(header.offset + _HEADER.size)
    return unpack_block(header, file.read(header.size), dictionary)


def _parse(data: bytes, offset: int) -> BlockHeader | None:
    if len(data) < _HEADER.size:
        return None
    mark, kind, flags, _, count, size, crc, first_at, last_at = _HEADER.unpack(data)
    is_sane = (
        mark == _MARK and kind in (KEYFRAME, EVENTS, SERIES) and size <= BLOCK_BYTES and 0 <= first_at <= last_at < 1e11
    )
    return BlockHeader(kind, flags, count, size, crc, first_at, last_at, offset) if is_sane else None


def _next_mark(file: BinaryIO, start: int, size: int) -> int | None:
    step = 1 << 20
    while start < size:
        file.seek(start)
        chunk = file.read(step + len(_MARK))
        place = chunk.find(_MARK)
        if place >= 0:
            return start + place
        start += step
    return None
