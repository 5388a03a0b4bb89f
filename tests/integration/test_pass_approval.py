"""Sensitive versions wait for an approval that names their manifest, by someone who may give it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from before_and_after import CUSTOMERS, german_subjects, withdraw
from governed_home import Home, edited, refused

from governance.errors import GovernanceError
from governance.model.canonical import parse
from governance.model.evidence import Stage
from governance.pipeline.approval import Request, approval_request, approve
from governance.pipeline.protect import protect
from governance.pipeline.run import STEPS
from governance.pipeline.step import RunContext, RunReference
from governance.pipeline.validate import validate


@pytest.fixture(scope="module")
def waiting_once(released_once: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReference]:
    """A validated version in a home whose policy asks for its approval."""
    home = Home.copied(released_once, tmp_path_factory.mktemp("waiting") / "home")
    edited(home.settings.policy, lambda text: f"{text}\napprovalFrom: confidential\n")
    edited(
        home.contract(CUSTOMERS),
        lambda text: text.replace(
            "\nschema:\n", "\nteam:\n  - {username: jonas.petersen, role: owner}\nschema:\n", 1
        ),
    )
    context = home.open(CUSTOMERS)
    for stage, step in STEPS.items():
        if stage is not Stage.RELEASE:
            step(context)
    return home.path, context.reference


@pytest.fixture
def waiting(waiting_once: tuple[Path, RunReference], tmp_path: Path) -> tuple[Home, RunContext]:
    home = Home.copied(waiting_once[0], tmp_path / "home")
    return home, home.resumed(waiting_once[1])


def asked(context: RunContext, triggered_by: str | None = "data.engineer") -> Request:
    request = approval_request(context, triggered_by=triggered_by)
    assert request is not None
    return request


def give(context: RunContext, **changed: Any) -> dict[str, Any]:
    given = {
        "digest": asked(context).digest,
        "approver": "ines.alvarado",
        "triggered_by": "data.engineer",
        "decided_at": context.workspace.clock(),
        "reason": "as agreed in the board",
        "by_way_of": "airflow",
    }
    return approve(context, **(given | changed))


def test_the_release_waits_and_then_cites_the_approval(waiting: tuple[Home, RunContext]) -> None:
    home, context = waiting
    before = home.pointer(CUSTOMERS)
    with refused("GOV-646"):
        STEPS[Stage.RELEASE](context)
    assert home.pointer(CUSTOMERS) == before
    request = asked(context)
    assert request.approvers == ("ines.alvarado",)
    assert {level for _, level in request.columns} == {"confidential"}
    give(context)
    STEPS[Stage.RELEASE](home.again(context))
    (facet,) = home.evidence(Stage.APPROVE)
    assert facet["facts"]["manifest_digest"] == request.digest
    assert facet["facts"]["authors"] == ["jonas.petersen"]
    index = home.manifest(CUSTOMERS).body["evidence"]["approve"]
    assert "governance_approve" in parse(home.workspace().log.entry(index).body or b"")["run"]["facets"]


@pytest.mark.parametrize(
    ("approver", "triggered_by"),
    [("jonas.petersen", "data.engineer"), ("ines.alvarado", "ines.alvarado"), ("admin", None), ("", None)],
)
def test_author_triggerer_and_strangers_may_not(
    waiting: tuple[Home, RunContext], approver: str, triggered_by: str | None
) -> None:
    _, context = waiting
    with refused("GOV-646"):
        give(context, approver=approver, triggered_by=triggered_by)
    with refused("GOV-646"):
        STEPS[Stage.RELEASE](context)


def test_an_approval_is_of_one_manifest(waiting: tuple[Home, RunContext]) -> None:
    home, context = waiting
    with refused("GOV-647"):
        give(context, digest="sha256:" + "0" * 64)
    give(context)
    protect(context)
    with refused("GOV-647"):
        STEPS[Stage.RELEASE](context)
    validate(context)
    again = home.again(context)
    with refused("GOV-647"):
        STEPS[Stage.RELEASE](again)
    give(again)
    STEPS[Stage.RELEASE](again)
    assert home.manifest(CUSTOMERS).version == context.run.version


def test_a_forged_approval_is_not_evidence(waiting: tuple[Home, RunContext]) -> None:
    _, context = waiting
    facts = give(context)
    context.keep(Stage.APPROVE, facts | {"reason": "another"}, context.log_index(Stage.APPROVE))
    with refused("GOV-507"):
        STEPS[Stage.RELEASE](context)


def test_a_policy_whose_approvers_are_all_barred(waiting: tuple[Home, RunContext]) -> None:
    _, context = waiting
    with refused("GOV-646"):
        approval_request(context, triggered_by="ines.alvarado")


def test_a_withdrawal_after_the_approval_asks_for_another_once(
    waiting: tuple[Home, RunContext], tmp_path: Path
) -> None:
    home, context = waiting
    give(context)
    withdraw(home, next(iter(german_subjects(home))), tmp_path)
    again = home.again(context)
    with refused("GOV-741", "GOV-647"):
        STEPS[Stage.RELEASE](again)
    segments = again.facts(Stage.PROTECT)["segments"]
    give(again)
    STEPS[Stage.RELEASE](home.again(again))
    assert again.facts(Stage.PROTECT)["segments"] == segments
    assert home.manifest(CUSTOMERS).body["late_withdrawals"] == 1


def test_below_the_threshold_nothing_is_asked(waiting: tuple[Home, RunContext]) -> None:
    _, context = waiting
    for level, needed in (("restricted", False), ("confidential", True), (None, False)):
        policy = replace(context.policy, approval_from=level)
        assert (approval_request(replace(context, policy=policy), triggered_by=None) is not None) == needed


def test_a_policy_says_from_where_and_by_whom(home: Home) -> None:
    edited(
        home.settings.policy, lambda text: f"{text}\napprovalFrom: secret\n".replace("approvers: [", "# [")
    )
    with pytest.raises(GovernanceError, match=r"approvalFrom|approvers") as caught:
        home.workspace().policy  # noqa: B018 - reading it is what fails
    assert caught.value.code == "GOV-106"
