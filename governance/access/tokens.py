"""Turning the tokens of reversible free text back into values, for a purpose that may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from governance.errors import AccessError
from governance.keys.text_tokens import TextKey
from governance.model.contract import Contract
from governance.pipeline.text_keys import keys_of_text
from governance.pipeline.workspace import Workspace
from governance.protect.transforms.text_tokens import without_tokens

Opened = Callable[[pa.RecordBatch, np.ndarray], pa.RecordBatch]
"""Rows and the ordinals of their people → the rows with the values in their texts."""


def require_opening(
    workspace: Workspace, contract: Contract, purpose: str, wanted: Sequence[str]
) -> tuple[str, ...]:
    """The columns in which tokens are to be opened.

    Raises:
        AccessError: GOV-609 when the policy does not let this purpose open any, or no wanted column has any.
    """
    columns = tuple(name for name in contract.reversible if name in wanted)
    if not workspace.policy.purposes[purpose].detokenize:
        raise AccessError(
            "GOV-609",
            f"the policy does not let {purpose!r} turn tokens of free text back into values",
            f"read without it, or have the policy's owner write `detokenize: true` for {purpose}",
        )
    if not columns:
        raise AccessError(
            "GOV-609",
            f"no column that is read of {contract.dataset} has tokens that can be turned back",
            "read without it, or release a column with `redact` and `reversible: true`",
        )
    return columns


def opening(workspace: Workspace, contract: Contract, columns: Sequence[str]) -> Opened:
    """Opens the tokens in ``columns``; nothing is done where there are none."""
    keys = keys_of_text(workspace, contract)

    def of_rows(name: str, people: np.ndarray, rows: np.ndarray) -> list[TextKey | None]:
        return keys(name, people[rows])

    def opened(batch: pa.RecordBatch, people: np.ndarray) -> pa.RecordBatch:
        for name in columns:
            values = without_tokens(batch[name], partial(of_rows, name, people))
            batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), values)
        return batch

    return opened
