"""The distinct sample, drawn by checksums of whole arrays, is the one that value by value gives."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from governance.detect.columns import profile
from governance.detect.columns.profile import ColumnProfile, checksums
from governance.detect.detectors.vocabulary import PLACEHOLDERS

_PLAIN, _WIDE = " abcXYZ019@.-", " abcé ß\t漢\x1c\x85\u2003019"


def _texts(alphabet: str, longest: int, number: int) -> list[str | None]:
    choice = random.Random(f"{alphabet}{longest}")
    made = ["".join(choice.choices(alphabet, k=choice.randint(0, longest))) for _ in range(number)]
    return [*made, None, "N/A", " n/a ", "-", ""]


def _by_value(arrays: list[pa.Array]) -> list[tuple[str, int]]:
    """The sample as its definition says: one value after the other, thinned out after each array."""
    sample: Counter[str] = Counter()
    threshold = 1 << 32
    for array in arrays:
        for value in profile._spread(array.drop_null()).to_pylist():
            whole = isinstance(value, float) and value.is_integer()
            written = str(int(value)) if whole else str(value)
            text = written.encode()[: profile.MAXIMUM_CHARACTERS].decode("utf-8", "replace").strip()
            if text.lower() not in PLACEHOLDERS and zlib.crc32(text.encode("utf-8", "replace")) < threshold:
                sample[text] += 1
        while len(sample) > profile.MAXIMUM_DISTINCT:
            threshold //= 2
            for text in [t for t in sample if zlib.crc32(t.encode("utf-8", "replace")) >= threshold]:
                del sample[text]
    return list(sample.items())


def _cases() -> dict[str, pa.Array]:
    cases = {
        f"{name} {longest}": pa.array(_texts(alphabet, longest, 60_000 // longest))
        for name, alphabet in (("plain", _PLAIN), ("wide", _WIDE), ("few", "ab"))
        for longest in (3, 20, 90, 1_500)
    }
    cases["whole numbers"] = pa.array([n * 7919 % 10**9 - 10**8 for n in range(9_000)])
    cases["numbers"] = pa.array([n / 8 for n in range(-900, 900)])
    start = datetime(1969, 12, 31, 23, 0, tzinfo=UTC)
    stamps = [start + timedelta(seconds=n * 977, microseconds=n % 3) for n in range(2_000)]
    for unit in ("s", "ms", "us"):
        made = pa.array(stamps, pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, "UTC"), safe=False)
        cases[f"instants in {unit}"] = made
        cases[f"times in {unit}"] = made.cast(pa.timestamp(unit))
    cases["early times"] = pa.array([datetime(1, 1, 1), datetime(999, 5, 5, 1, 2, 3), datetime(2000, 1, 1)])
    cases["Berlin"] = cases["instants in us"].cast(pa.timestamp("us", "Europe/Berlin"))
    cases["days"] = pa.array([date(2000, 1, 1) + timedelta(days=n) for n in range(500)])
    return cases


CASES = _cases()


@pytest.mark.parametrize("name", CASES)
def test_the_sample_is_the_one_that_value_by_value_gives(name: str) -> None:
    array = CASES[name]
    arrays = [array.slice(start, 1_700) for start in range(0, len(array), 1_700)]
    seen = ColumnProfile("c")
    seen.settled = True  # no search for identifiers: they are not what is looked at
    for part in arrays:
        seen.update(part)
    assert list(seen.sample.items()) == _by_value(arrays)


def test_checksums_are_crc32_or_left_open() -> None:
    values: list[Any] = [
        t.encode() for t in _texts(_WIDE, 70, 500) + _texts(_PLAIN, 70, 500) if t is not None
    ]
    for kind in (pa.binary(), pa.large_binary()):
        array = pa.array([b"before", *values], kind).slice(1)
        found = checksums(array).tolist()
        assert sum(map(bool, found)) > 300
        for value, each in zip(values, found, strict=True):
            assert each in (0, zlib.crc32(value))
            assert not each or value.decode().strip().encode() == value
    assert checksums(pa.array([], pa.binary())).tolist() == []
