"""What correction leaves say, as rows of the index."""

from __future__ import annotations

from typing import Any

from governance.lineage.index.facet_facts import encoded
from governance.model.correction import read_correction


def correction_row(body: bytes, principal: str, index: int) -> tuple[Any, ...] | None:
    """Principal, namespace, name, column, version and the body as it came.

    ``None`` when its sender may not correct or it is not of the format: such a correction does not exist.
    """
    correction = read_correction(body, principal, index)
    if correction is None:
        return None
    text = encoded(correction.to_json())
    return principal, *correction.where, correction.version, text
