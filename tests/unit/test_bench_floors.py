"""The floors that benchmarks are measured against are the agreed ones, unchanged."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "tests" / "bench" / "floors.py"
SHARED = Path(os.environ.get("GOVERNANCE_SHARED") or ROOT.parent / "shared") / "bench" / "floors.py"


def test_floors_are_the_shared_ones_byte_for_byte() -> None:
    if not SHARED.exists():
        pytest.skip("no shared floors beside this checkout; GOVERNANCE_SHARED names their folder")
    assert OURS.read_bytes() == SHARED.read_bytes()
