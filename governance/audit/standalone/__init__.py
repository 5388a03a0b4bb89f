"""The single-file verifier that every bundle carries. It shares no code with the software that makes bundles."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_PARTS = ("proving.py", "checking.py", "signing_off.py", "answering.py")
_FUTURE = "from __future__ import annotations\n"
_OURS = re.compile(r"from governance\.[\w.]+ import \([^)]*\)\n")


@cache
def source() -> bytes:
    """The verifier as one file that imports nothing but Python's library and ``cryptography``."""
    first, *rest = ((Path(__file__).parent / name).read_text("utf-8") for name in _PARTS)
    return "".join([first, *(_OURS.sub("", text.partition(_FUTURE)[2]) for text in rest)]).encode()
