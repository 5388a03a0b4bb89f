"""Which regimes apply to each row: the subject's place, the controller's establishment, HIPAA."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.errors import ConsentError
from governance.model.contract import Contract
from governance.model.decision import Regime
from governance.model.policy import Policy

UNKNOWN = 255
"""Stands for a jurisdiction that is missing or that the policy does not list. Always denied."""


def regimes(
    policy: Policy, contract: Contract, jurisdiction: pa.Array | None, rows: int
) -> NDArray[np.uint8]:
    """Bits of :class:`Regime` per row, :data:`UNKNOWN` where the jurisdiction is.

    A code counts as it stands in the policy: no folding of case, no falling back from ``US-CA`` to
    ``US``. The controller's establishment (GDPR Art. 3(1)) and a covered entity's status (45 CFR
    160.103) add regimes to every row whose jurisdiction is known.

    Args:
        jurisdiction: string array of length ``rows``, or ``None`` where the contract names a constant.

    Returns:
        ``uint8`` array of shape (rows,).

    Raises:
        ConsentError: GOV-205 when the contract's constant is unknown, or names neither a constant
            nor a column, or when the policy uses a regime that does not exist.
    """
    everywhere = _bits(policy.establishment_regimes, "establishment")
    if contract.covered_entity:
        everywhere |= Regime.HIPAA
    by_code = {code: _bits(names, code) | everywhere for code, names in policy.jurisdictions.items()}
    if jurisdiction is None:
        constant = contract.jurisdiction.constant
        if constant not in by_code:
            raise ConsentError(
                "GOV-205",
                f"contract {contract.dataset} names no jurisdiction that the policy lists",
                "name a jurisdiction column, or a constant from `jurisdictions` in the policy",
            )
        return np.full(rows, by_code[constant], dtype=np.uint8)
    if isinstance(jurisdiction, pa.ChunkedArray):
        jurisdiction = jurisdiction.combine_chunks()
    if pa.types.is_dictionary(jurisdiction.type):
        jurisdiction = jurisdiction.dictionary_decode()
    if pa.types.is_null(jurisdiction.type):
        return np.full(rows, UNKNOWN, dtype=np.uint8)
    codes = pa.array(list(by_code), jurisdiction.type)
    table = np.array([*(int(bits) for bits in by_code.values()), UNKNOWN], dtype=np.uint8)
    found = pc.fill_null(pc.index_in(jurisdiction, value_set=codes), len(by_code))
    bits: NDArray[np.uint8] = table[found.to_numpy(zero_copy_only=False)]
    return bits


def _bits(names: tuple[str, ...], where: str) -> Regime:
    bits = Regime.NONE
    for name in names:
        try:
            bits |= Regime[name.upper()]
        except KeyError:
            raise ConsentError(
                "GOV-205",
                f"the policy lists an unknown regime for {where}",
                f"use {', '.join(str(r.name) for r in Regime if r)}",
            ) from None
    return bits
