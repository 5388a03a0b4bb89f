"""The single-file verifier that every bundle carries. It shares no code with the software that makes bundles."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_FUTURE = "from __future__ import annotations\n"
_OURS = re.compile(r"from governance\.[\w.]+ import \([^)]*\)\n")


@cache
def source() -> bytes:
    """The verifier as one file that imports nothing but Python's library and ``cryptography``."""
    folder = Path(__file__).parent
    first, second = ((folder / name).read_text("utf-8") for name in ("proving.py", "checking.py"))
    return (first + _OURS.sub("", second.partition(_FUTURE)[2], count=1)).encode()
