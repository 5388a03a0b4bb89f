"""The key store's part in reversible tokens goes to who makes them and to who may open them, never to a reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from governance.contracts import load_contract, load_policy
from governance.model.contract import Protection
from governance.model.key_grant import Claim, Operation, Workload
from governance.server.broker.rules import KnownRun, Refused, require_labels, require_permitted

EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"
PURPOSE = "support_inference"
POLICY = load_policy(EXAMPLES / "policy.yaml")
PLAIN = load_contract(EXAMPLES / "support_prompts.odcs.yaml", POLICY)
CONTRACT = replace(
    PLAIN,
    columns=tuple(
        replace(c, protection=Protection("redact", {"reversible": True}))
        if c.protection.method == "redact"
        else c
        for c in PLAIN.columns
    ),
)
CLAIM = Claim(Operation.DETOKENIZE, PLAIN.dataset, PURPOSE, PLAIN.digest, POLICY.digest, "v1", "a1")


def given(operation: Operation, contract: object, label: str = f"text-token:{PLAIN.dataset}") -> bool:
    try:
        require_labels(replace(CLAIM, operation=operation), contract, [label])  # type: ignore[arg-type]
    except Refused:
        return False
    return True


def test_the_secret_of_text_goes_with_sealing_and_opening_of_that_dataset_only() -> None:
    assert CONTRACT.reversible
    assert [o.value for o in Operation if given(o, CONTRACT)] == ["seal", "detokenize"]
    assert not any(given(o, PLAIN) for o in Operation)
    assert not given(Operation.DETOKENIZE, CONTRACT, "text-token:another")


@pytest.mark.parametrize("missing", ["operation", "purpose", None])
def test_opening_needs_the_workloads_right_and_the_purposes(missing: str | None) -> None:
    own = [Operation.READ, *([] if missing == "operation" else [Operation.DETOKENIZE])]
    workload = Workload("etl", (), (PLAIN.dataset,), (PURPOSE,), tuple(own), "restricted")
    purpose = replace(POLICY.purposes[PURPOSE], detokenize=missing != "purpose")
    policy = replace(POLICY, purposes={**POLICY.purposes, PURPOSE: purpose})
    context = {
        "dataset": PLAIN.dataset, "purpose": PURPOSE, "contract_digest": PLAIN.digest, "policy_digest": POLICY.digest,
    }  # fmt: skip
    run = KnownRun(context, 0, frozenset({"released"}), frozenset())
    if missing is None:
        require_permitted(policy, workload, CLAIM, run)
        return
    with pytest.raises(Refused) as caught:
        require_permitted(policy, workload, CLAIM, run)
    assert caught.value.reason == missing
