"""How fast a pattern is on text that is hard for automata, and whether it matches everywhere.

RE2 is linear in the text, but a program that outgrows its automaton is a hundred times slower, and
only on some texts. So a team's pattern runs over those before it runs over data. Time is that of the
thread's processor, so that a busy machine does not refuse a good pattern.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.detect.detectors.detector import PATTERN, DetectorFault

MINIMUM_SPEED = 10.0
"""MB/s on one core below which a pattern is refused; automata reach 100 to 600, their fallback 1 to 6."""
MAXIMUM_SHARE = 0.05
"""Share of ordinary sentences that a text pattern may match: each match costs a step of Python."""

_BYTES = 1 << 17
_TRIES = 3
_SEED = 20_260_101
_WORDS = (
    "the order was shipped on time and our team will look at it again next week because nobody had seen such "
    "a change before so please send more details about how this part works when you can thanks for your help "
    "der Vertrag wurde geprüft und die Lieferung kommt bald la cliente pide más información sobre el producto "
    "le dossier est en cours et nous vous répondrons dès que possible Meeting Report Invoice Berlin 12 250 2024"
)


@dataclass(frozen=True, slots=True)
class Speed:
    """``slowest``: MB/s on the corpus named ``corpus``."""

    slowest: float
    corpus: str


@cache
def corpora() -> dict[str, pa.Array]:
    """Texts of 128 KiB each by name; the same in every process."""
    random = np.random.default_rng(_SEED)
    raw = random.integers(0, 256, _BYTES * 3 // 4, np.uint8).tobytes()
    encoded = base64.b64encode(raw).decode()
    letters = "".join(chr(65 + n) for n in random.integers(0, 26, _BYTES).tolist())
    digits = "".join(chr(48 + n) for n in random.integers(0, 10, _BYTES).tolist())
    hexadecimal = random.integers(0, 256, _BYTES, np.uint8).tobytes().hex()
    uuids = [
        "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:32]))
        for h in (hexadecimal[at : at + 32] for at in range(0, _BYTES, 36))
    ]
    return {
        "prose": sentences(),
        "base64": _rows(encoded, 120),
        "one long value": pa.array([encoded]),
        "UUIDs": pa.array(uuids),
        "upper case": _rows(letters, 90),
        "digits": _rows(digits, 24),
        "spaces": pa.array(["a " * 60] * (_BYTES // 120)),
        "one letter": pa.array(["a" * _BYTES]),
        "emoji and right-to-left": pa.array(["🙂👩‍👩‍👧 مرحبا بالعالم שלום עולם 日本語"] * (_BYTES // 60)),
    }


@cache
def sentences() -> pa.Array:
    """Ordinary sentences without identifiers."""
    random, words = np.random.default_rng(_SEED), _WORDS.split()
    return pa.array([" ".join(random.choice(words, 9)) + "." for _ in range(_BYTES // 55)])


def _rows(text: str, width: int) -> pa.Array:
    return pa.array([text[at : at + width] for at in range(0, len(text), width)])


def require_fast(pattern: str) -> Speed:
    """The speed of a pattern as the scanner runs it.

    Raises:
        DetectorFault: it is slower than :data:`MINIMUM_SPEED` on one of :func:`corpora`.
    """
    worst: Speed | None = None
    try:
        pc.match_substring_regex(sentences()[:1], pattern)
    except pa.ArrowInvalid:
        raise DetectorFault(
            PATTERN,
            "the pattern needs more memory than a scan gives it; use * or + for long counted repetitions",
        ) from None
    for name, texts in corpora().items():
        reached = max(_speeds(lambda texts=texts: pc.match_substring_regex(texts, pattern), texts.nbytes))  # type: ignore[misc]
        if worst is None or reached < worst.slowest:
            worst = Speed(reached, name)
        if reached < MINIMUM_SPEED:
            raise DetectorFault(
                PATTERN,
                f"the pattern is too slow: {reached:.1f} MB/s on {name}, at least {MINIMUM_SPEED:.0f} are needed; "
                "use * or + for long counted repetitions, and fewer alternatives that begin alike",
            )
    return worst or Speed(0.0, "")


def _speeds(run: Callable[[], object], size: int) -> Iterator[float]:
    for _ in range(_TRIES):
        start = time.thread_time()
        run()
        reached = size / max(time.thread_time() - start, 1e-6) / 1e6
        yield reached
        if reached >= MINIMUM_SPEED:
            return


def require_rare(pattern: str) -> None:
    """Raises :class:`DetectorFault` for a text pattern that ordinary sentences match."""
    matched = pc.sum(pc.match_substring_regex(sentences(), pattern)).as_py() or 0
    if matched > MAXIMUM_SHARE * len(sentences()):
        raise DetectorFault(
            PATTERN,
            f"the pattern matches {matched / len(sentences()):.0%} of ordinary sentences; add context in `before`, "
            "or digits and shapes that words do not have",
        )
