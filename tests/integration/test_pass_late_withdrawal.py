"""Withdrawals during a run and after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from before_and_after import (
    CUSTOMERS,
    german_subjects,
    withdraw,
)
from governed_home import Home, edited, refused

from governance.model.canonical import parse
from governance.model.evidence import Stage
from governance.pipeline import release as release_module
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.protect import protect
from governance.pipeline.release import release
from governance.pipeline.step import RunContext
from governance.pipeline.validate import validate

Validated = tuple[Home, RunContext]


def test_a_withdrawal_during_the_run_is_rewritten_out(validated: Validated, tmp_path: Path) -> None:
    home, context = validated
    before = home.rows(CUSTOMERS).num_rows
    old_segments = {s["segment_id"] for s in context.facts(Stage.PROTECT)["segments"]}
    subject, rows = next(iter(german_subjects(home).items()))
    withdraw(home, subject, tmp_path)
    facts = release(context)
    assert facts["late_withdrawals"] == 1
    assert facts["consent_position"] == 2
    assert context.run.consent_position == 1
    manifest = home.manifest(CUSTOMERS)
    assert manifest.body["late_withdrawals"] == 1
    counts = manifest.body["counts"]
    assert counts["rows_out"] == before - rows == home.rows(CUSTOMERS).num_rows
    assert counts["rows_in"] == counts["rows_out"] + counts["rows_denied"] + counts["rows_quarantined"]
    assert not old_segments & {p.name for p in (home.root(CUSTOMERS) / "segments").iterdir()}


def test_a_withdrawal_that_concerns_nobody_in_the_dataset_changes_nothing(
    validated: Validated, tmp_path: Path
) -> None:
    home, context = validated
    segments = context.facts(Stage.PROTECT)["segments"]
    withdraw(home, "C-0000000000", tmp_path)
    facts = release(context)
    assert (facts["late_withdrawals"], facts["consent_position"]) == (0, 2)
    assert context.facts(Stage.PROTECT)["segments"] == segments


def test_a_contract_may_ask_for_quarantine_instead(released: Home, tmp_path: Path) -> None:
    contract = edited(
        released.contract(CUSTOMERS),
        lambda t: t.replace("onLateWithdrawal: rewrite", "onLateWithdrawal: quarantine"),
    )
    subject = next(iter(german_subjects(released)))
    context = released.open(CUSTOMERS, contract_path=contract)
    for step in (classify, consent, protect, validate):
        step(context)
    pointer = released.pointer(CUSTOMERS)
    withdraw(released, subject, tmp_path)
    with refused("GOV-204"):
        release(context)
    assert released.pointer(CUSTOMERS) == pointer
    folder = released.root(CUSTOMERS) / "quarantine" / f"{context.run.version}.{context.run.attempt}"
    assert parse((folder / "reasons.json").read_bytes())["reasons"][0]["code"] == "GOV-204"


def test_withdrawals_that_keep_coming_end_in_quarantine(
    validated: Validated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, context = validated
    pointer = home.pointer(CUSTOMERS)
    subjects = iter(german_subjects(home))
    withdraw(home, next(subjects), tmp_path)
    rewrites = 0
    real: Callable[..., object] = release_module.protect

    def and_another(*arguments: object, **options: object) -> object:
        nonlocal rewrites
        rewrites += 1
        done = real(*arguments, **options)
        withdraw(home, next(subjects), tmp_path)
        return done

    monkeypatch.setattr(release_module, "protect", and_another)
    with refused("GOV-204"):
        release(context)
    assert rewrites == context.policy.late_withdrawal_rewrites + 1
    assert home.pointer(CUSTOMERS) == pointer
    monkeypatch.setattr(release_module, "protect", real)
    assert home.run(CUSTOMERS).reference.version == home.manifest(CUSTOMERS).version


def test_a_withdrawal_after_the_release_restricts_reads_at_once(released: Home, tmp_path: Path) -> None:
    subject, rows = next(iter(german_subjects(released).items()))
    before = released.rows(CUSTOMERS).num_rows
    withdraw(released, subject, tmp_path)
    assert released.rows(CUSTOMERS).num_rows == before - rows
    withdraw(released, "C-0000000000", tmp_path)
    assert released.rows(CUSTOMERS).num_rows == before - rows
