"""The subjects of one source, as tasks need them: how each is decided, and their pseudonyms.

Who is who is known by AES-CMACs of the identifiers under a key made for this pass, so that no task holds the
vault's key and the table says nothing to whom the pass's key is not given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from governance.consent import regimes
from governance.errors import SourceError
from governance.keys.cmac import cmac
from governance.keys.vault.blind_index import BlindIndex
from governance.keys.vault.identifiers import distinct
from governance.model.contract import Contract
from governance.model.decision import Reason
from governance.model.policy import Policy
from governance.pipeline.consent import UNKNOWN_REGIME, ConsentDecision

Bytes = npt.NDArray[np.uint8]
Ordinals = npt.NDArray[np.int64]

KEY_SIZE = 32
APPLICABLE = np.array([*range(8), UNKNOWN_REGIME], np.uint8)
"""What :func:`governance.consent.regimes` may give a row: a subject is decided for each of them."""


class SubjectTable:
    """Looks rows' subjects up. The last row of ``reasons`` is for rows that name nobody.

    Args:
        key: 32 bytes, the pass's.
        marks: (n, 16), one a subject.
        reasons: (n + 1, 9), a :class:`Reason` code for each of :data:`APPLICABLE`.
        pseudonyms: (n, 16), zero for subjects of whom no row is released.
    """

    def __init__(self, key: bytes, marks: Bytes, reasons: Bytes, pseudonyms: Bytes) -> None:
        self.key = key
        self.marks = np.ascontiguousarray(marks)
        self.reasons = reasons
        self.pseudonyms = pseudonyms

    @cached_property
    def _index(self) -> BlindIndex:
        index = BlindIndex()
        index.extend(self.marks)
        return index

    def decide(
        self,
        contract: Contract,
        policy_regimes: Callable[[pa.Array | None, int], Bytes],
        batch: pa.RecordBatch,
    ) -> tuple[Bytes, Ordinals]:
        """Reasons and, in the place of vault ordinals, rows of this table; −1 for nobody.

        Raises:
            SourceError: GOV-705 for a subject who was not in the source when the table was made.
        """
        codes, unique = distinct(batch[contract.subject.source_name])
        found = np.empty(0, np.int64)
        if len(unique):
            found = self._index.find(self.marks, cmac(self.key, unique))
        if (found < 0).any():
            raise SourceError(
                "GOV-705",
                "a subject is in the source who was not there when its subjects were decided",
                "let what writes the source finish, then start a new run",
            )
        ordinals = np.append(found, -1)[codes]
        where = contract.jurisdiction.source_name
        applicable = policy_regimes(batch[where] if where else None, batch.num_rows)
        return self.reasons[ordinals, np.minimum(applicable, len(APPLICABLE) - 1)], ordinals

    def pseudonyms_of(self, ordinals: Ordinals) -> Bytes:
        """(m, 16) of rows of this table."""
        return self.pseudonyms[ordinals]


def gathered(
    batches: Iterable[pa.RecordBatch],
    decision: ConsentDecision,
    contract: Contract,
    pseudonyms: Callable[[Ordinals], Bytes],
) -> SubjectTable:
    """Decide every subject of a source once.

    Allowed strangers become known subjects of the vault, as in the local pass.

    Args:
        batches: the source's subject and jurisdiction columns.
        pseudonyms: vault ordinals → the audience's pseudonyms.
    """
    key = os.urandom(KEY_SIZE)
    index = BlindIndex()
    marks, reasons = np.empty((0, 16), np.uint8), [np.empty((0, len(APPLICABLE)), np.uint8)]
    released = np.empty(0, np.int64)
    for batch in batches:
        identifiers = batch[contract.subject.source_name]
        codes, unique = distinct(identifiers)
        if len(unique):
            seen = cmac(key, unique)
            new = np.flatnonzero(index.find(marks, seen) < 0)
            if new.size:
                marks = np.concatenate([marks, seen[new]])
                index.extend(marks)
                strangers = pa.RecordBatch.from_arrays(
                    [unique.take(pa.array(new))], names=[contract.subject.source_name]
                )
                reasons.append(_decided(decision, decision.subjects(strangers)))
                released = np.append(released, np.full(new.size, -1))
            decided, ordinals = decision(batch)
            kept = np.flatnonzero((decided == Reason.ALLOWED) & (codes >= 0))
            rows = index.find(marks, seen)[codes[kept]]
            released[rows] = ordinals[kept]
    nobody = _decided(decision, np.array([-1]))
    given = np.zeros((len(marks), 16), np.uint8)
    known = released >= 0
    if known.any():
        given[known] = pseudonyms(released[known])
    return SubjectTable(key, marks, np.concatenate([*reasons, nobody]), given)


def _decided(decision: ConsentDecision, ordinals: Ordinals) -> Bytes:
    every = decision.decide(np.repeat(ordinals, len(APPLICABLE)), np.tile(APPLICABLE, len(ordinals)))
    return np.asarray(every, np.uint8).reshape(-1, len(APPLICABLE))


def row_regimes(policy: Policy, contract: Contract) -> Callable[[pa.Array | None, int], Bytes]:
    """Applicable regimes of rows, by their jurisdiction column."""
    return lambda where, rows: regimes(policy, contract, where, rows)
