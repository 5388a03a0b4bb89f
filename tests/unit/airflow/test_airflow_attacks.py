"""docs/attacks.md: every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_attack_is_tried_by_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "attacks.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`test_" in line]
    named = set(re.findall(r"`(test_\w+)`", page))
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) >= 12
    assert sorted(name for name in named if f"def {name}(" not in code) == []
