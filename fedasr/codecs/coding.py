"""Fewer bytes without loss: entropy coding of bytes by Zstandard, and of gaps between indices by a Rice code."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import zstandard

from fedasr.codecs.base import Damaged

Indices = npt.NDArray[np.int64]

CODINGS = ("zstd", "none")
LEVEL = 3
PLAIN, PACKED = b"\0", b"\1"
RICE = struct.Struct("<BII")
"""Bits of a remainder, how many indices, bytes of the unary part."""
MOST_BITS = 31


def pack(content: bytes, coding: str) -> bytes:
    """Return bytes behind one that says how they are coded; they stay as they are where coding does not pay.

    Args:
        content: to code.
        coding: ``zstd`` or ``none``.
    """
    if coding == "zstd":
        packed = zstandard.ZstdCompressor(level=LEVEL).compress(content)
        if len(packed) < len(content):
            return PACKED + packed
    return PLAIN + content


def unpack(content: bytes, size: int) -> bytes:
    """Return the bytes that ``pack`` has coded.

    Args:
        content: coded.
        size: how many must come out; no memory is taken for more.

    Raises:
        Damaged: other than ``size`` bytes would come out, or none.
    """
    kind, rest = content[:1], content[1:]
    if kind == PLAIN:
        result = rest
    elif kind == PACKED:
        try:
            # What a frame says of its size is what would be allocated.
            if zstandard.get_frame_parameters(rest).content_size != size:
                raise Damaged("its Zstandard frame has another size than the vector")
            result = zstandard.ZstdDecompressor().decompress(rest)
        except zstandard.ZstdError as error:
            raise Damaged(f"it is no Zstandard frame: {error}") from None
    else:
        raise Damaged("its first byte names no coding")
    if len(result) != size:
        raise Damaged(f"it holds {len(result)} bytes, expected {size}")
    return result


def rice(indices: Indices) -> bytes:
    """Return rising indices as a Rice code of the gaps between them, about 1.5 + log₂(1/density) bits each.

    The unary parts lie together, and so do the remainders: the same bits as if they took turns, and both can be read
    without a loop.

    Args:
        indices: strictly rising, shape ``(k,)``, below 2³¹.
    """
    gaps = np.diff(indices, prepend=-1) - 1
    mean = float(gaps.mean()) if len(gaps) else 0.0
    guess = max(0, int(np.log2(max(mean, 1.0))))
    bits = min(range(max(0, guess - 2), guess + 2), key=lambda r: (int((gaps >> r).sum()) + r * len(gaps), r))
    quotients = gaps >> bits
    ends = np.cumsum(quotients + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1 if len(ends) else 0, np.uint8)
    unary[ends] = 1
    remainders = (gaps[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    first = np.packbits(unary).tobytes()
    return RICE.pack(bits, len(gaps), len(first)) + first + np.packbits(remainders.astype(np.uint8)).tobytes()


def rice_indices(content: bytes, size: int) -> tuple[Indices, bytes]:
    """Return the indices of a Rice code, and the bytes behind it.

    Args:
        content: begins with the code.
        size: all indices are below it.

    Raises:
        Damaged: it is no such code.
    """
    if len(content) < RICE.size:
        raise Damaged("its indices are cut short")
    bits, count, length = RICE.unpack_from(content)
    last = length + -(-bits * count // 8)
    if bits > MOST_BITS or count > size or len(content) < RICE.size + last:
        raise Damaged("its indices are cut short")
    code = np.frombuffer(content, np.uint8, last, RICE.size)
    ends = np.flatnonzero(np.unpackbits(code[:length]))
    if len(ends) != count:
        raise Damaged(f"it holds {len(ends)} indices, expected {count}")
    quotients = np.diff(ends, prepend=-1) - 1
    remainders = np.unpackbits(code[length:], count=bits * count).reshape(count, bits).astype(np.int64)
    gaps = (quotients << bits) + remainders @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
    indices: Indices = np.cumsum(gaps + 1) - 1
    if count and indices[-1] >= size:
        raise Damaged(f"index {indices[-1]} is outside a vector of {size}")
    return indices, content[RICE.size + last :]
