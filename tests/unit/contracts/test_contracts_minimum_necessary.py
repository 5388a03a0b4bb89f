"""The policy's minimum necessary and review hours: what is taken, and what is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.contracts import load_policy
from governance.errors import ContractError

Changed = Callable[..., Path]
ROW = "  - {role: northlake-research, purpose: research, classifications: [age], protocol: MN-7}\n"
HOURS = "reviewHours: {days: [monday], from: '06:00', to: '20:00'}\n"


def said(changed: Changed, examples: Path, text: str) -> Path:
    shipped = (examples / "policy.yaml").read_text("utf-8").partition("minimumNecessary:")
    return changed("policy.yaml", ("".join(shipped[1:]), text))


def test_roles_of_every_kind_are_taken(changed: Changed, examples: Path) -> None:
    more = "  - {role: pipeline, purpose: treatment, exemption: treatment}\n"
    load_policy(said(changed, examples, f"minimumNecessary:\n{ROW}{more}{HOURS}"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"minimumNecessary:\n{ROW.replace('northlake', 'northlak')}", "neither a recipient nor a workload"),
        (f"minimumNecessary:\n{ROW.replace('purpose: research', 'purpose: reserch')}", "purpose `reserch`"),
        (f"minimumNecessary:\n{ROW.replace('[age]', '[agee]')}", "`agee` is not among `classifications`"),
        (f"minimumNecessary:\n{ROW.replace('MN-7', 'MN-7, criteria: C')}", "remove one"),
        (f"minimumNecessary:\n{ROW}{ROW}", "stand here already"),
        ("minimumNecessary:\n  - {role: pipeline, purpose: research}\n", "classifications"),
        (f"minimumNecessary:\n{ROW.replace('protocol: MN-7', 'exemption: because')}", "exemption"),
        (HOURS.replace("20:00", "05:00"), "end before they begin"),
        (HOURS.replace("monday", "someday"), "days"),
    ],
)
def test_faults_are_named(changed: Changed, examples: Path, text: str, says: str) -> None:
    with pytest.raises(ContractError) as refused:
        load_policy(said(changed, examples, text))
    assert refused.value.code == "GOV-106" and says in str(refused.value)
