"""Credentials: known token formats and long tokens of high entropy."""

from __future__ import annotations

import math
import re
from collections import Counter

MINIMUM_LENGTH = 20
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
    if not MINIMUM_LENGTH <= len(token) <= 4096 or _UUID.search(token):
        return False
    if not (_LOWER.search(token) and _UPPER.search(token) and _TWO_DIGITS.search(token)):
        return False
    return entropy(token) >= MINIMUM_BITS


def is_secret(value: str) -> bool:
    """Whether a whole value is a credential in a known format or a random token."""
    token = value.strip()
    return bool(_KNOWN.fullmatch(token)) or (" " not in token and is_high_entropy(token))
