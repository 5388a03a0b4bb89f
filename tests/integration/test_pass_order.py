"""Steps out of order, runs at once, retries: one version, published once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from before_and_after import (
    CANARY,
    CUSTOMERS,
    Before,
    logged_text,
)
from governed_home import PURPOSES, Home, refused, shown_by

from governance.model.canonical import parse
from governance.model.evidence import Stage
from governance.pipeline import release as release_module
from governance.pipeline.open import open_run
from governance.pipeline.protect import protect
from governance.pipeline.release import release
from governance.pipeline.run import STEPS
from governance.pipeline.validate import validate


@pytest.mark.parametrize("step", [protect, validate, release], ids=lambda s: s.__name__)
def test_a_step_out_of_order_is_refused(step: Callable[..., object], released: Home) -> None:
    before = Before(released, CUSTOMERS)
    with refused("GOV-741"):
        step(released.open(CUSTOMERS))
    before.is_untouched()


def test_a_step_of_a_run_that_was_never_opened_is_refused(released: Home) -> None:
    from dataclasses import replace

    context = released.open(CUSTOMERS)
    with refused("GOV-741"):
        released.again(replace(context, reference=replace(context.reference, attempt="0" * 8)))


def test_of_two_runs_at_once_one_wins_and_the_other_is_quarantined(released: Home) -> None:
    first, second = released.open(CUSTOMERS), released.open(CUSTOMERS)
    for stage, step in STEPS.items():
        if stage is not Stage.RELEASE:
            step(first)
            step(second)
    release(first)
    with refused("GOV-721"):
        release(second)
    assert released.manifest(CUSTOMERS).version == first.run.version
    reasons = released.root(CUSTOMERS) / "quarantine" / f"{second.run.version}.{second.run.attempt}"
    assert parse((reasons / "reasons.json").read_bytes())["reasons"][0]["code"] == "GOV-721"
    states = [f["facts"]["state"] for f in released.evidence(Stage.RELEASE, CUSTOMERS)]
    assert states.count("released") == 2  # the fixture's and the first
    assert states[-1] == "quarantined"


def test_a_pointer_that_moves_at_the_last_moment_is_not_overwritten(
    released: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = released.open(CUSTOMERS), released.open(CUSTOMERS)
    for stage, step in STEPS.items():
        if stage is not Stage.RELEASE:
            step(first)
            step(second)
    real = type(first.storage).swap_pointer
    raced: list[bool] = []

    def overtaken(storage: object, name: str, expected: bytes | None, new: bytes) -> None:
        if not raced:
            raced.append(True)
            release(second)
        real(storage, name, expected, new)  # type: ignore[arg-type]

    monkeypatch.setattr(type(first.storage), "swap_pointer", overtaken)
    with refused("GOV-721"):
        release(first)
    assert released.manifest(CUSTOMERS).version == second.run.version


def test_a_retry_of_a_released_attempt_does_not_publish_twice(released: Home) -> None:
    context = released.open(CUSTOMERS)
    for step in STEPS.values():
        step(context)
    pointer, size = released.pointer(CUSTOMERS), len(released.evidence(Stage.RELEASE))
    facts = release(released.again(context))
    assert facts["state"] == "released"
    assert released.pointer(CUSTOMERS) == pointer
    assert len(released.evidence(Stage.RELEASE)) == size


def test_a_retry_of_an_attempt_that_was_released_and_followed_changes_nothing(released: Home) -> None:
    context = released.open(CUSTOMERS)
    for step in STEPS.values():
        step(context)
    newer = released.run(CUSTOMERS)
    assert release(released.again(context))["state"] == "released"
    assert released.manifest(CUSTOMERS).version == newer.reference.version
    assert not (
        released.root(CUSTOMERS) / "quarantine" / f"{context.run.version}.{context.run.attempt}"
    ).exists()


def test_an_earlier_version_stays_readable_by_id(released: Home) -> None:
    before = released.manifest(CUSTOMERS)
    released.run(CUSTOMERS)
    assert released.manifest(CUSTOMERS, before.version).digest == before.digest
    with refused("GOV-603"):
        released.manifest(CUSTOMERS, "v" + "0" * 24)


def test_an_unexpected_exception_shows_its_type_and_place_only(
    released: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choke(_: object) -> object:
        raise ValueError(f"cannot parse {CANARY}")

    monkeypatch.setattr(release_module, "_require_evidence", choke)
    before = Before(released, CUSTOMERS)
    with refused("GOV-999", free_of=(CANARY,)) as caught:
        released.run(CUSTOMERS)
    assert "ValueError" in shown_by(caught[0])
    assert CANARY not in logged_text(released)
    assert before.pointer == released.pointer(CUSTOMERS)


def test_opening_reports_the_failure_of_a_run_that_never_opened(released: Home) -> None:
    workspace = released.workspace()
    from governance.pipeline.local import local_recorder

    with refused("GOV-104"):
        open_run(
            workspace,
            local_recorder(workspace, CUSTOMERS, "never"),
            contract_path=released.contract(CUSTOMERS),
            source=str(released.source(CUSTOMERS)),
            purpose="world_peace",
            run_id="never",
        )
    assert [e["eventType"] for e in released.events()][-2:] == ["START", "FAIL"]
    assert PURPOSES[CUSTOMERS] != "world_peace"
