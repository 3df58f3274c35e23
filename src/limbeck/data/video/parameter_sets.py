"""What an H.264 stream says of itself: from how many frames one is predicted."""

from __future__ import annotations

_SPS, _KIND_BITS = 7, 0x1F
_AVCC_COUNT, _AVCC_FIRST = 5, 6  # bytes of the number of parameter sets, and of the first one's length
_WITH_CHROMA = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)  # profiles whose sets tell the format


def num_reference_frames(extradata: bytes | None) -> int | None:
    """Return from how many frames another may be predicted, as the sequence parameter sets of H.264 say.

    Args:
        extradata: of the container: an ``avcC`` box, or units behind start codes.
    Returns:
        The most of all sets; None where there are none, one is damaged, or pictures are coded in fields.
    References:
        ITU-T H.264, sections 7.3.2.1.1 and 7.4.2.1.1 (``max_num_ref_frames``).
    """
    try:
        counts = [_of_set(unit) for unit in _parameter_sets(extradata or b"")]
    except IndexError:
        return None
    known = [count for count in counts if count is not None]
    return max(known) if counts and len(known) == len(counts) else None


def _parameter_sets(extradata: bytes) -> list[bytes]:
    """Return the sequence parameter sets, without the byte that tells what they are."""
    if extradata[:1] == b"\x01":
        units, place = [], _AVCC_FIRST
        for _ in range(extradata[_AVCC_COUNT] & _KIND_BITS):
            length = int.from_bytes(extradata[place : place + 2], "big")
            units.append(extradata[place + 2 : place + 2 + length])
            place += 2 + length
    else:
        units = extradata.split(b"\x00\x00\x01")[1:]
    return [unit[1:] for unit in units if unit and unit[0] & _KIND_BITS == _SPS]


def _of_set(unit: bytes) -> int | None:
    bits = _Bits(unit.replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.read(8)
    bits.read(16)  # constraints, level
    bits.unsigned()  # number of the set
    if profile in _WITH_CHROMA:
        _skip_chroma(bits)
    bits.unsigned()  # length of frame numbers
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.read(1)
        bits.unsigned(), bits.unsigned()  # signed, and as long
        for _ in range(bits.unsigned()):
            bits.unsigned()
    count = bits.unsigned()
    bits.read(1)
    bits.unsigned(), bits.unsigned()  # width and height
    return count if bits.read(1) else None  # 0: fields


def _skip_chroma(bits: _Bits) -> None:
    chroma = bits.unsigned()
    if chroma == 3:
        bits.read(1)
    bits.unsigned(), bits.unsigned()  # bits of a sample
    bits.read(1)
    if bits.read(1):
        for number in range(8 if chroma != 3 else 12):
            if bits.read(1):
                _skip_scaling(bits, 16 if number < 6 else 64)


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


class _Bits:
    """Reads a bit string from its beginning."""

    def __init__(self, content: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in content)
        self._place = 0

    def read(self, count: int) -> int:
        """Return so many bits as a number; IndexError at the end."""
        self._place += count
        if self._place > len(self._text):
            raise IndexError(count)
        return int(self._text[self._place - count : self._place], 2)

    def unsigned(self) -> int:
        """Return a number as Exp-Golomb codes it."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + (self.read(zeros) if zeros else 0)

    def signed(self) -> int:
        """Likewise, of numbers that may be negative."""
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)
