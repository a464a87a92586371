"""CTranslate2's model.bin, read without CTranslate2: names, shapes and numbers, nothing that runs.

Little endian. Header: version u32, spec name, spec revision u32, count u32. Each tensor: name, rank u8, dimensions u32
each, type u8, bytes u32, data. Then aliases: count u32, pairs of names. A name: length u16 with its closing zero, text.
(src/models/model.cc and python/ctranslate2/specs/model_spec.py of OpenNMT/CTranslate2.)
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from synclip_core.errors import SyncLipError

VERSION = 6  # of the container; older ones lay tensors and aliases out differently
TYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}  # 5 is bfloat16, which numpy has not


@dataclass(frozen=True)
class Model:
    """spec: what network it is, as CTranslate2 calls it; tensors: by CTranslate2's names, aliases resolved."""

    spec: str
    revision: int
    tensors: dict[str, np.ndarray]


def parse(data: bytes, name: str) -> Model:
    """The whole file, every length checked; name: of the file, for messages. Raises SyncLipError where it is none."""
    reader = _Reader(data, name)
    version = reader.number("I")
    if version != VERSION:
        raise SyncLipError(f"{name}: not a CTranslate2 model of version {VERSION} (its first number is {version})")
    spec, revision = reader.text(), reader.number("I")
    tensors = {}
    for _ in range(reader.number("I")):
        key = reader.text()
        shape = tuple(reader.number("I") for _ in range(reader.number("B")))
        kind, size = reader.number("B"), reader.number("I")
        if kind not in TYPES:
            raise SyncLipError(f"{name}: {key} has number type {kind}; expected one of {sorted(TYPES)}")
        dtype = np.dtype(TYPES[kind])
        if size != math.prod(shape) * dtype.itemsize:
            raise SyncLipError(f"{name}: {key} says {size} bytes, its shape {list(shape)} makes another number")
        tensors[key] = np.frombuffer(reader.take(size), dtype).reshape(shape)
    for _ in range(reader.number("I")):
        alias, key = reader.text(), reader.text()
        if key not in tensors:
            raise SyncLipError(f"{name}: {alias} stands for {key}, which is not in the file")
        tensors[alias] = tensors[key]
    if reader.place != len(data):
        raise SyncLipError(f"{name}: {len(data) - reader.place} bytes are left after the last tensor")
    return Model(spec, revision, tensors)


class _Reader:
    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.place = data, name, 0

    def take(self, size: int) -> bytes:
        if self.place + size > len(self.data):
            raise SyncLipError(f"{self.name}: cut short, or no CTranslate2 model ({len(self.data)} bytes)")
        self.place += size
        return self.data[self.place - size : self.place]

    def number(self, kind: str) -> int:
        return struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]

    def text(self) -> str:
        raw = self.take(self.number("H"))
        if not raw.endswith(b"\0"):
            raise SyncLipError(f"{self.name}: a name without its end at byte {self.place}; no CTranslate2 model")
        return raw[:-1].decode("utf-8", "replace")
