"""Whether image files are grey, from their first bytes: for a million of them, where Pillow takes over a minute."""

from __future__ import annotations

import os

from limbeck.data.image_decoding import ImageSource, read_headers

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPE = 25  # where it stands
_PNG_KINDS = {0: True, 2: False, 3: False, 4: True, 6: False}  # colour type -> grey; 3 is a palette
_JPEG = b"\xff\xd8\xff"
_HEAD_BYTES = 4096
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF: height, width, number of components


def is_grey_file(source: ImageSource) -> bool:
    """Return what the header of an image file says: the same as ``read_headers``, PNG and JPEG without Pillow.

    Raises:
        DataError: a file that is missing or no image.
    """
    kind = is_grey_head(_head(source)) if isinstance(source, str) else None
    return read_headers([source])[0].is_grey if kind is None else kind


def is_grey_head(head: bytes) -> bool | None:
    """Return whether an image that begins so is grey; None where these bytes do not tell.

    Example:
        >>> is_grey_head(b"GIF89a") is None
        True
    """
    if head.startswith(_PNG) and len(head) > _PNG_COLOUR_TYPE:
        return _PNG_KINDS.get(head[_PNG_COLOUR_TYPE])
    if not head.startswith(_JPEG):
        return None
    place = 2
    while place + 9 < len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker in _FRAME_MARKERS:
            return head[place + 9] == 1
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return None


def _head(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe is not waited for
    except OSError:
        return b""
    try:
        return os.read(file, _HEAD_BYTES)
    except OSError:
        return b""
    finally:
        os.close(file)
