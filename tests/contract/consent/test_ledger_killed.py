"""An import that is killed at any step leaves the old ledger or the new one, wherever the heads lie."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_ledger_heads import World

import governance.consent.ledger as module
from governance.durable import replace_file
from governance.model.decision import Reason

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def killing(call: Callable[..., Any], *, first: bool = False) -> Callable[..., Any]:
    """The call, and the end of the process right after it, or in its place."""

    def called(*arguments: Any, **named: Any) -> None:
        if not first:
            call(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return called


class Log:
    """Leaves in a file: what the log holds outlives who wrote it, and the same body is one leaf."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_text("[]")

    @property
    def leaves(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._path.read_text())
        return found

    def record(self, body: dict[str, Any]) -> int:
        leaves = self.leaves
        if body not in leaves:
            leaves.append(body)
            replace_file(self._path, json.dumps(leaves).encode())
        return leaves.index(body)


def break_at(moment: str, heads: Any, log: Log) -> None:
    """In a child: have it killed at a moment of its import."""
    if "segment" in moment:
        module.write_segment = killing(module.write_segment, first=moment == "before the segment")
    elif "leaf" in moment:
        log.record = killing(log.record, first=moment == "before the leaf")  # type: ignore[method-assign]
    elif moment == "within the commit":
        transaction = heads.transaction

        class Dying:
            def __init__(self, connection: Any) -> None:
                self._connection = connection

            def execute(self, statement: str, parameters: Any = (), /) -> Any:
                result = self._connection.execute(statement, parameters)
                if statement.startswith("INSERT INTO governance_consent_batch"):
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

        @contextlib.contextmanager
        def dying(self: Any) -> Any:
            with transaction(self) as connection:
                yield Dying(connection)

        heads.transaction = dying
    else:
        name = "announce" if "announc" in moment else "commit"
        setattr(heads, name, killing(getattr(heads, name), first=moment.startswith("before")))


MOMENTS = {
    "before the segment": (0, False),
    "after the segment": (0, False),
    "before announcing": (0, False),
    "after announcing": (0, True),
    "before the leaf": (0, True),
    "after the leaf": (1, True),
    "within the commit": (1, True),
    "after the commit": (1, False),
}
"""At which step the import is killed: how many leaves it left, and whether a batch is pending."""


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_killed_at_any_step_leaves_the_old_state_or_the_new(tmp_path: Path, database: str | None) -> None:
    world, log = World(tmp_path, database), Log(tmp_path / "log.json")
    world.record = log.record  # type: ignore[method-assign]
    for imported, (moment, (recorded, pending)) in enumerate(MOMENTS.items()):
        at = T0 + timedelta(days=imported)
        child = os.fork()
        if child == 0:
            try:
                break_at(moment, type(world.ledger()._heads), log)
                world.add(f"f{imported}", "grant", range(imported, imported + 1), at, at, record=log.record)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, moment
        ledger = world.ledger()
        assert ledger.pending is pending, moment
        assert len(log.leaves) - imported == recorded, moment
        assert ledger.position == imported + (moment == "after the commit"), moment
        people = range(imported + 1)
        old = [Reason.ALLOWED] * ledger.position
        assert world.reasons(people, at, ledger.position)[: len(old)] == old
        # Nobody is held off by the dead importer's lock; the file comes again and is there once.
        if imported % 2:
            world.ledger(record=log.record)
        world.add(f"f{imported}", "grant", range(imported, imported + 1), at, at)
        ledger = world.ledger()
        assert (ledger.position, ledger.pending, len(log.leaves)) == (imported + 1, False, imported + 1), (
            moment
        )
        assert world.reasons(people, at, imported + 1) == [Reason.ALLOWED] * (imported + 1), moment
        assert [leaf["position"] for leaf in log.leaves] == list(range(1, imported + 2))
        assert len(list((tmp_path / "consent" / "segments").iterdir())) == imported + 1, moment
