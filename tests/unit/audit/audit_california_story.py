"""A register of Californian requests and a ledger with opt-outs, in which every exception happens once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from audit_rights_story import LOSSES, SURE, begun, erasure_step, searched
from audit_story import CUSTOMERS, fixed_salts, released, treated
from audit_world import Run, World

from governance.log import CONSENT_BATCH
from governance.model.canonical import canonical, digest, timestamp
from governance.model.evidence import Stage
from governance.model.statements import REQUEST

HOSTILE = '=HYPERLINK("http://x")<script>alert(1)</script>'
LISTED = {"applies": True, "ground": "research_waiver"}


def step(world: World, request: str, what: str, at: datetime | None = None, **said: Any) -> int:
    """A leaf as the register writes it."""
    stated = {
        "v": 1,
        "request": request,
        "step": what,
        "at": timestamp(at or world.clock()),
        "by": "dpo",
        **said,
    }
    return world.put(canonical(stated), REQUEST, "admin:cli")


def opened(
    world: World, request: str, kind: str, *, days_ago: int = 0, regime: str = "CCPA", **said: Any
) -> datetime:
    received = world.clock() - timedelta(days=days_ago)
    facts = {"kind": kind, "regime": regime, "domain": "customer", "received_at": timestamp(received)}
    step(world, request, "opened", received, **facts, **said)
    return received


def decided(world: World, request: str, decision: str, **said: Any) -> int:
    return step(
        world, request, "decided", decision=decision, **{"evidence": [], "holds": [], "reason": "R", **said}
    )


def batch(world: World, position: int, counts: Mapping[str, Mapping[str, int]], **more: Any) -> int:
    """A batch of the ledger with opt-outs by purpose."""
    opened_, closed = (sum(c[name] for c in counts.values()) for name in ("opened", "closed"))
    body = {
        "ledger": "l1",
        "position": position,
        "segment": digest(f"segment {position}".encode()),
        "source": digest(f"file {position}".encode()),
        "recorded_at": timestamp(world.clock()),
        "rows": opened_ + closed,
        "duplicates": 0,
        "backdated": 0,
        "backdated_after_seconds": 86400,
        "actions": {name: n for name, n in (("opt_out", opened_), ("opt_in", closed)) if n},
        "opt_outs": counts,
        **more,
    }
    return world.put(canonical(body), CONSENT_BATCH, "admin:cli")


def counts(opened_: int, *, gpc: int = 0, ending: int = 0, closed: int = 0) -> dict[str, int]:
    return {"opened": opened_, "gpc": gpc, "ending": ending, "closed": closed}


def decision(run: Run, opted_out: int, position: int) -> int:
    """A consent stage that left out rows of consumers who had opted out."""
    return run.stage(
        Stage.CONSENT,
        {
            "rows": 100,
            "allowed": 100 - opted_out,
            "denied": opted_out,
            "by_reason": {"allowed": 100 - opted_out, "opted_out": opted_out},
            "position": position,
            "instant": run.context["opened_at"],
            "regimes": {"ccpa": 100},
            "subjects": {"distinct": 25, "allowed": 20, "denied": 5},
            "backdated": {"subjects": 0},
        },
    )


def california(folder: Path) -> World:
    """The same log each time."""
    with fixed_salts():
        world = World(folder)
        _tell(world)
        return world


def _tell(world: World) -> None:
    batch(world, 1, {"*": counts(40, gpc=25), "model_training": counts(6, ending=2, closed=3)})
    batch(world, 2, {"*": counts(0, closed=4)})
    leaf = {"policy": world.policy(), "contract": world.contract("customer_profiles")}

    def run(run_id: str) -> Run:
        return world.open("customer_profiles", "model_training", run_id=run_id, **leaf)

    heeded = run("heeded")
    released(heeded, CUSTOMERS)
    decision(heeded, 11, 2)
    batch(world, 3, {"*": counts(7, gpc=7)})
    world.disclose(heeded, 1, "model_training", LISTED)  # which of the seven it held nobody says
    world.disclose(heeded, 2, "model_training", LISTED, ledger_position=3)  # none of them

    stale = run("stale")  # decided at position 2, opened after 3 was recorded
    released(stale, CUSTOMERS)
    undecided = run("undecided")
    undecided.release("released")
    found = run("found")
    found.classify([seen for seen, _ in CUSTOMERS])
    decision(found, 9, 3)
    found.protect([treated(seen, method) for seen, method in CUSTOMERS])
    check = {"check": "no_denied_subject_present", "success": False, "detail": "2 rows"}
    found.stage(Stage.VALIDATE, {"success": True, "rows": 64, "results": [], "checks": [check]})
    found.release("released")

    opened(world, "CA-1", "erasure", days_ago=30, manner="web form")
    step(world, "CA-1", "confirmed", world.clock() - timedelta(days=25))
    step(world, "CA-1", "identity", result="verified", method="portal login")
    begun(world, "CA-1")
    erasure_step(world, ["CA-1"], {"state": "destroyed", **LOSSES, "doomed": [], "destruction": SURE})
    searched(world, "CA-1")
    decided(world, "CA-1", "granted", evidence=["CA-1"])
    for who, role in (("quayside-cloud", "service-provider"), ("northlake-research", "third-party")):
        step(world, "CA-1", "told", recipient=who, role=role)
    opened(world, "CA-2", "access", days_ago=60, manner="toll-free call")  # overdue, never confirmed
    opened(world, "CA-3", "opt-out", days_ago=1, manner="web form")
    decided(world, "CA-3", "granted")  # nobody told
    opened(world, "CA-4", "rectification", manner="letter")
    decided(world, "CA-4", "refused", reason="")  # no basis
    opened(world, "CA-5", "limit", days_ago=40)
    decided(world, "CA-5", "partly-granted")  # late
    step(world, "CA-5", "told", recipient="adbroker", role="third-party", impossible="it was dissolved")
    decided(world, "CA-5", "granted")  # a second one
    opened(world, "CA-6", "opt-out", manner=HOSTILE)
    decided(world, "CA-6", "granted")  # never in the ledger
    step(world, "CA-6", "told", recipient=HOSTILE, role="third-party")
    opened(world, HOSTILE, "portability", days_ago=2)
    opened(world, "CA-8", "access", days_ago=900)  # open since before the period
    opened(world, "CA-9", "access", days_ago=900, manner="letter")
    step(
        world,
        "CA-9",
        "decided",
        world.clock() - timedelta(days=880),
        decision="granted",
        reason="R",
        evidence=[],
        holds=[],
    )
    opened(world, "EU-1", "access", regime="GDPR")
    step(world, "CA-1", "extended", reason=["not", "text"])  # no step
    world.log.checkpoint()
