"""What an orchestrator does to tasks: it starts one beside its lost self, and clears them after a repair."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from governed_home import Home, refused

from governance.errors import GovernanceError
from governance.model.evidence import Stage
from governance.pipeline.release import release
from governance.pipeline.run import STEPS
from governance.pipeline.step import RunContext

CUSTOMERS = "customer_profiles"


def test_a_zombie_beside_its_retry_publishes_one_version_once(validated: tuple[Home, RunContext]) -> None:
    home, context = validated
    tries = [context, home.again(context)]

    def attempt(one: RunContext) -> str:
        try:
            return str(release(one)["state"])
        except GovernanceError as fault:
            return fault.code

    with ThreadPoolExecutor(2) as both:
        ends = list(both.map(attempt, tries))
    if "released" not in ends:
        # Each got in the other's way: nothing is lost, the next try finishes it.
        ends.append(attempt(home.again(context)))
    assert "released" in ends, ends
    assert home.manifest(CUSTOMERS).version == context.run.version
    assert home.rows(CUSTOMERS).num_rows
    digest = home.manifest(CUSTOMERS).digest
    said = [f["facts"] for f in home.evidence(Stage.RELEASE, CUSTOMERS)]
    assert {f["manifest_digest"] for f in said if f["state"] == "released"} >= {digest}
    assert home.cli("log", "verify", "--home", str(home.path), "--files")[0] in (0, 3)


def test_a_zombie_that_seals_beside_its_retry_changes_nothing_that_is_read(released: Home) -> None:
    context = released.open(CUSTOMERS)
    for stage in (Stage.CLASSIFY, Stage.CONSENT):
        STEPS[stage](context)
    retry = released.again(context)
    with ThreadPoolExecutor(2) as both:
        ends = [both.submit(STEPS[Stage.PROTECT], one) for one in (context, retry)]
    assert any(end.exception() is None for end in ends), [end.exception() for end in ends]
    for end in ends:
        assert end.exception() is None or isinstance(end.exception(), GovernanceError), end.exception()
    last = released.again(context)
    for stage in (Stage.PROTECT, Stage.VALIDATE, Stage.RELEASE):
        STEPS[stage](last)
    assert released.manifest(CUSTOMERS).version == context.run.version
    assert released.rows(CUSTOMERS).num_rows


@pytest.mark.parametrize("cleared_from", [Stage.OPEN, Stage.CONSENT])
def test_a_task_cleared_after_the_source_was_repaired(released: Home, cleared_from: Stage) -> None:
    source = released.source(CUSTOMERS)
    context = released.open(CUSTOMERS, run_id="manual__1")
    STEPS[Stage.CLASSIFY](context)
    before = released.manifest(CUSTOMERS).version
    lines = source.read_text("utf-8").splitlines(keepends=True)
    source.write_text("".join(lines[:-5]), "utf-8")
    if cleared_from is Stage.CONSENT:
        with refused("GOV-705"):
            STEPS[Stage.CONSENT](released.again(context))
        assert released.manifest(CUSTOMERS).version == before
        return
    again = released.open(CUSTOMERS, run_id="manual__1")
    for step in STEPS.values():
        step(again)
    assert again.run.version not in (before, context.run.version)
    assert released.manifest(CUSTOMERS).version == again.run.version
