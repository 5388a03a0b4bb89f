"""Several items computed at once come out in their order, and one that fails ends the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from governance.protect.channel import in_order


def test_results_keep_the_order_of_their_items_however_long_each_takes() -> None:
    second = threading.Event()

    def work(item: int) -> int:
        # The first ends only after the second has: both run at once.
        if item == 0:
            assert second.wait(30)
        if item == 1:
            second.set()
        return item * item

    assert list(in_order(range(20), work, 2)) == [n * n for n in range(20)]


def test_no_more_items_are_asked_for_than_can_be_worked_on() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for item in range(50):
            asked.append(item)
            yield item

    for taken, result in enumerate(in_order(items(), lambda item: item, 2)):
        assert result == taken
        assert len(asked) <= taken + 3


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_stands_in_its_place_and_no_thread_is_left(workers: int) -> None:
    done: list[int] = []

    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        done.append(item)
        return item

    results = in_order(range(1_000), work, workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(done) < 10
    assert not [t for t in threading.enumerate() if t.name.startswith("governance-compute")]


def test_an_error_of_the_items_and_leaving_early_end_the_work() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(in_order(items(), lambda item: item, 2))
    left = in_order(range(1_000), lambda item: item, 2)
    assert next(left) == 0
    left.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("governance-compute")]
