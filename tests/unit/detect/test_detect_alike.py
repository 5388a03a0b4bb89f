"""Rows that hold one and the same thing are settled together, and each as it would be alone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from governance.detect.text import asking
from governance.detect.text.engine import engine

_ODD = (
    "no address",
    "4111 1111 1111 1111",
    "a@b.com 123-45-6789",
    "naïve@café.com",
    "",
    None,
    "+1-212-555-0134",
)


def _column(form: str, every: int) -> pa.Array:
    values = [_ODD[n // every % len(_ODD)] if n % every == 0 else form.format(n) for n in range(9_000)]
    return pa.array(["before", *values]).slice(1)


@pytest.mark.parametrize("every", [2, 37, 9_000])
@pytest.mark.parametrize(
    "form", ["user{}@example.com", "+1-212-55{:05d}", "{:03d}-45-6789", "id {}", "https://a.b/{}"]
)
def test_rows_settled_together_hold_what_each_holds(
    form: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = _column(form, every)
    together = engine().hits(column)
    for bound in ("WORTH_SAMPLING", "WORTH_BLOCKS"):
        monkeypatch.setattr(asking, bound, 1 << 30)
    apart = engine().hits(column)
    assert together.rows.tolist() == apart.rows.tolist()
    assert together.detectors == apart.detectors


def test_a_line_end_is_to_our_expressions_what_the_end_of_a_text_is() -> None:
    # Texts of which few hold anything are asked in blocks joined by line ends.
    for _, group in engine().groups:
        for index in group.members:
            for text, _ in engine().detectors[index].examples:
                alone = group.match(text.encode())
                assert set(alone) <= set(group.match(f"x\n{text}\nx".encode())), text
