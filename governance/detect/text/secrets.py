"""Credentials: known token formats and long tokens of high entropy."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MINIMUM_LENGTH = 20
_MAXIMUM_LENGTH = 4_096
_ROWS = 4_096
"""Tokens looked at together; their counts take four megabytes."""
_TERMS = np.arange(_MAXIMUM_LENGTH + 1) * np.log2(np.maximum(np.arange(_MAXIMUM_LENGTH + 1), 1))
MINIMUM_BITS = 3.6
"""Shannon bits a character. Random base64 of 32 characters has about 4.5, hex 3.7, English 2.5–3.3."""

KNOWN_FORMATS = (
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}",
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abprs]-[A-Za-z0-9-]{10,}",
    r"sk-[A-Za-z0-9_-]{20,}",
    r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[\s\S]*",
)
"""Formats vendors document: AWS, JWT (RFC 7519), GitHub, GitLab, Slack, OpenAI, Stripe, Google, PEM (RFC 7468)."""

_KNOWN = re.compile("|".join(f"(?:{pattern})" for pattern in KNOWN_FORMATS))
_LOWER, _UPPER, _TWO_DIGITS = re.compile("[a-z]"), re.compile("[A-Z]"), re.compile(r"\d[^\d]*\d")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def entropy(token: str) -> float:
    """Shannon entropy of the characters of ``token`` in bits a character."""
    total = len(token)
    return -sum(n / total * math.log2(n / total) for n in Counter(token).values()) if token else 0.0


def is_high_entropy(token: str) -> bool:
    """Whether a token looks random: at least 20 characters, mixed classes, and no UUID.

    A hexadecimal token is left alone: commit and content digests are many and no credentials.
    """
    if not MINIMUM_LENGTH <= len(token) <= _MAXIMUM_LENGTH or _UUID.search(token):
        return False
    if not (_LOWER.search(token) and _UPPER.search(token) and _TWO_DIGITS.search(token)):
        return False
    return entropy(token) >= MINIMUM_BITS


def are_secrets(tokens: pa.Array) -> NDArray[np.bool_]:
    """:func:`is_secret` of each of a ``large_binary`` array of ASCII tokens without blanks, shape (n,); null is False.

    One look at the bytes of all tokens: a text full of base64 has a token in every row.
    """
    secret = np.zeros(len(tokens), np.bool_)
    for start in range(0, len(tokens), _ROWS):
        part = tokens.slice(start, _ROWS)
        lengths = np.diff(_offsets(part))
        long = np.flatnonzero((lengths >= MINIMUM_LENGTH) & (lengths <= _MAXIMUM_LENGTH))
        part = part.take(pa.array(long))
        counts, lengths = _counted(part), lengths[long]
        digits = counts[:, ord("0") : ord("9") + 1].sum(axis=1)
        upper = counts[:, ord("A") : ord("Z") + 1].any(axis=1)
        lower = counts[:, ord("a") : ord("z") + 1].any(axis=1)
        bits = np.log2(np.maximum(lengths, 1)) - _TERMS[counts].sum(axis=1) / np.maximum(lengths, 1)
        random = upper & lower & (digits >= 2) & (bits >= MINIMUM_BITS)
        # A UUID has four dashes; a search in every token would cost more than all else.
        for place in np.flatnonzero(random & (counts[:, ord("-")] >= 4)).tolist():
            random[place] = not _UUID.search(part[place].as_py().decode())
        secret[start + long[random]] = True
    for place in np.flatnonzero(~secret).tolist():
        token = tokens[place].as_py()
        secret[place] = token is not None and _KNOWN.fullmatch(token.decode("utf-8", "replace")) is not None
    return secret


def _offsets(tokens: pa.Array) -> NDArray[np.int64]:
    offsets: NDArray[np.int64] = np.frombuffer(tokens.buffers()[1], np.int64)
    return offsets[tokens.offset : tokens.offset + len(tokens) + 1]


def _counted(tokens: pa.Array) -> NDArray[np.int64]:
    """How often each byte below 128 stands in each token, shape (n, 128)."""
    offsets = _offsets(tokens)
    data = np.frombuffer(tokens.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    rows = np.repeat(np.arange(len(tokens)), np.diff(offsets))
    return np.bincount(rows * 128 + (data & 0x7F), minlength=128 * len(tokens)).reshape(-1, 128)


def is_secret(value: str) -> bool:
    """Whether a whole value is a credential in a known format or a random token."""
    token = value.strip()
    return bool(_KNOWN.fullmatch(token)) or (" " not in token and is_high_entropy(token))
