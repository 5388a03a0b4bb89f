"""Random tables, and the classes of Great Expectations by the name of an expectation."""

import datetime as dt
import logging
import os
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

WORDS = ["", "a", "ab", "A1", "é", "a\nb", "x'y", '"', "a@b.org", "a@b.com", " ", "aaaa", None]


def table(seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    rows = int(random.choice([0, 1, 2, 7, 40, 200]))
    nulls = float(random.choice([0, 0, 0.2, 0.9, 1]))

    def column(values, kind):
        missing = random.random(rows) < nulls
        return pa.array([None if m else v for v, m in zip(values, missing, strict=True)], kind)

    def words():
        return [WORDS[i] for i in random.integers(0, int(random.integers(1, len(WORDS))), rows)]

    days = [dt.date(2020, 1, 1) + dt.timedelta(int(d)) for d in random.integers(-40, 40, rows)]
    times = [dt.datetime(2020, 1, 1) + dt.timedelta(minutes=int(d)) for d in random.integers(-90, 90, rows)]
    return pa.table(
        {
            "i": pa.array(random.integers(-5, 6, rows), pa.int64()),
            "j": pa.array(random.integers(-5, 6, rows), pa.int64()),
            "f": column(random.integers(-9, 9, rows) / 4, pa.float64()),
            "g": column(random.integers(-9, 9, rows) / 4, pa.float64()),
            "s": column(words(), pa.string()),
            "t": column(words(), pa.string()),
            "d": column(days, pa.date32()),
            "e": column(times, pa.timestamp("ns")),
            "n": column([Decimal(int(v)) / 4 for v in random.integers(-9, 9, rows)], pa.decimal128(8, 2)),
        }
    )


def gx_class(expectation: str):
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    gx = pytest.importorskip("great_expectations")
    return getattr(gx.expectations, "".join(part.capitalize() for part in expectation.split("_")))


COUNTS = (
    "element_count",
    "unexpected_count",
    "missing_count",
    "unexpected_percent",
    "unexpected_percent_total",
    "unexpected_percent_nonmissing",
    "missing_percent",
)
