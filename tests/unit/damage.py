"""Damage as disks, cables and hands do it."""

from __future__ import annotations

import random
import re


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Return a file with one bit flipped, one digit changed, or its end cut off."""
    kind, place = draw.choice(["flip", "flip", "digit", "cut"]), draw.randrange(len(content))
    digits = [found.start() for found in re.finditer(rb"[0-9]", content)]
    if kind == "cut":
        return content[:place]
    if kind == "digit" and digits:
        place = draw.choice(digits)
        digit = (int(content[place : place + 1]) + draw.randint(1, 9)) % 10
        return content[:place] + str(digit).encode() + content[place + 1 :]
    return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]
