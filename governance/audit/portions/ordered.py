"""Cells whose members have an order of their own; :mod:`governance.audit.plain` lays out the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from governance.audit import plain
from governance.audit.blocks import grid, spoken, terms


def in_order(orders: Mapping[str, Sequence[str]], said: Mapping[str, str]) -> Callable[[str, Any], list[Any]]:
    """A report's ``present``.

    Args:
        orders: by cell, the members that are shown, in order.
        said: what a member is called, where its own name does not do.
    """

    def name(member: str) -> str:
        return said.get(member, spoken(member).capitalize())

    def present(key: str, value: Any) -> list[Any]:
        members = orders.get(key)
        if members is not None and isinstance(value, Mapping):
            return [terms((name(m), plain.shown(value[m])) for m in members if value.get(m) is not None)]
        if members is not None and isinstance(value, list) and value:
            figures = [
                at
                for at, m in enumerate(members)
                if all(type(row.get(m)) in (int, type(None)) for row in value)
            ]
            rows = [[plain.shown(row.get(m)) for m in members] for row in value]
            return [grid(name(key), [name(m) for m in members], rows, figures)]
        return plain.present(key, value)

    return present
