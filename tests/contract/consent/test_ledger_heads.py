"""Where the heads lie makes no difference to what the ledger does."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from governance.consent import ConsentLedger
from governance.consent.views import PUBLISH_ABOVE
from governance.errors import ConsentError, SettingError
from governance.model.decision import Reason, Regime
from governance.model.policy import Purpose

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PURPOSE = Purpose("training", "", "consent", None, None, True)


def internal(domain: str, identifiers: pa.Array) -> np.ndarray:
    packed = b"".join(hashlib.md5(f"{domain}/{i}".encode()).digest() for i in identifiers.to_pylist())  # noqa: S324
    return np.frombuffer(packed, np.uint8).reshape(-1, 16)


class World:
    """A ledger opened anew for each use, and the leaves it wrote."""

    def __init__(self, folder: Path, database: str | None) -> None:
        self.folder, self.database = folder, database
        self.leaves: list[dict[str, Any]] = []
        ConsentLedger.create(folder / "consent", postgres=database)

    def ledger(self, **more: Any) -> ConsentLedger:
        return ConsentLedger.open(self.folder / "consent", postgres=self.database, **more)

    def record(self, body: dict[str, Any]) -> int:
        if body not in self.leaves:
            self.leaves.append(body)
        return self.leaves.index(body)

    def add(self, name: str, action: str, people: range, at: datetime, recorded: datetime, **how: Any) -> Any:
        path = self.folder / f"{name}.csv"
        head = "record_id,domain,subject_id,purpose,action,valid_from,collected_at\n"
        stamp = at.isoformat()
        lines = (f"{name}-{i},patient,P{i},training,{action},{stamp},{stamp}\n" for i in people)
        path.write_text(head + "".join(lines))
        record = how.get("record", self.record)
        return self.ledger().import_file(path, internal=internal, record=record, recorded_at=recorded)

    def reasons(self, people: range, at: datetime, position: int) -> list[Reason]:
        population = internal("patient", pa.array([f"P{i}" for i in people]))
        snapshot = self.ledger().snapshot(PURPOSE, "patient", at, position, population)
        rows = np.arange(len(people))
        return [Reason(c) for c in snapshot.decide(rows, np.full(len(people), Regime.GDPR, np.uint8), False)]


@pytest.fixture
def world(tmp_path: Path, database: str | None) -> World:
    return World(tmp_path, database)


def test_batches_and_positions(world: World) -> None:
    world.add("a", "grant", range(3), T0, T0)
    world.add("b", "withdraw", range(1), T0 + DAY, T0 + DAY)
    assert world.add("a", "grant", range(3), T0, T0).position == 2
    assert [(b.position, b.rows, b.log_index) for b in world.ledger().batches()] == [(1, 3, 0), (2, 1, 1)]
    assert world.reasons(range(2), T0 + 2 * DAY, 2) == [Reason.CONSENT_WITHDRAWN, Reason.ALLOWED]
    assert world.reasons(range(2), T0 + 2 * DAY, 1) == [Reason.ALLOWED, Reason.ALLOWED]
    with pytest.raises(SettingError, match="GOV-901"):
        ConsentLedger.create(world.folder / "consent", postgres=world.database)


def test_an_import_cut_in_half_is_completed_by_who_comes_next(world: World) -> None:
    def broken(_: dict[str, Any]) -> int:
        raise OSError("the log is down")

    with pytest.raises(OSError, match="down"):
        world.add("a", "grant", range(2), T0, T0, record=broken)
    assert (world.ledger().position, world.ledger().pending) == (0, True)
    assert world.ledger(record=world.record).position == 1
    assert not world.ledger().pending


def test_two_importers_at_once_make_two_batches(world: World) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda n: world.add(f"f{n}", "grant", range(n, n + 1), T0, T0), range(4)))
    assert sorted(batch.position for batch in made) == [1, 2, 3, 4]
    assert [leaf["position"] for leaf in world.leaves] == [1, 2, 3, 4]


def test_a_clock_that_jumps_back_dates_no_batch_before_an_earlier_one(world: World) -> None:
    world.add("a", "grant", range(1), T0, T0 + 9 * DAY)
    assert world.add("b", "grant", range(1, 2), T0, T0).recorded_at == T0 + 9 * DAY


def test_an_index_is_published_reused_with_a_delta_and_checked(world: World) -> None:
    people = range(PUBLISH_ABOVE + 1)
    world.add("a", "grant", people, T0, T0)
    folder = world.folder / "consent" / "index"
    assert set(world.reasons(people, T0 + DAY, 1)) == {Reason.ALLOWED}
    [index] = folder.iterdir()
    (folder / ".index.0badcafe").write_bytes(b"of a killed publisher")
    world.add("b", "withdraw", range(5, 6), T0 + DAY, T0 + DAY)
    assert list(folder.iterdir()) == [index]
    segments = world.folder / "consent" / "segments"
    [first] = [p for p in segments.iterdir() if p.stem == world.leaves[0]["segment"].removeprefix("sha256:")]
    first.rename(tmp := first.with_suffix(".away"))
    # Only the delta is read: the first segment is not even there.
    decided = world.reasons(people, T0 + 2 * DAY, 2)
    assert [n for n, reason in enumerate(decided) if reason is not Reason.ALLOWED] == [5]
    assert set(world.reasons(people, T0 + 2 * DAY, 1)) == {Reason.ALLOWED}
    tmp.rename(first)
    # Another order of subjects is another population: nothing of the index is used.
    assert world.reasons(range(6, 3, -1), T0 + 2 * DAY, 2)[1] is Reason.CONSENT_WITHDRAWN
    # So is one that had not known a subject of the ledger yet.
    data = bytearray(index.read_bytes())
    data[-1] ^= 1
    index.write_bytes(data)
    with pytest.raises(ConsentError, match=r"GOV-203.*index.*altered"):
        world.reasons(people, T0 + DAY, 1)
    index.unlink()
    assert set(world.reasons(people, T0 + DAY, 1)) == {Reason.ALLOWED}


def test_an_index_made_before_a_subject_was_known_does_not_hide_its_records(world: World) -> None:
    people = range(PUBLISH_ABOVE + 2)
    world.add("a", "grant", people, T0, T0)
    population = internal("patient", pa.array([f"P{i}" for i in people]))
    world.ledger(publish=False).snapshot(PURPOSE, "patient", T0, 1, population)
    assert not (world.folder / "consent" / "index").exists()
    fewer = world.reasons(range(PUBLISH_ABOVE + 1), T0 + DAY, 1)
    assert set(fewer) == {Reason.ALLOWED}
    assert world.reasons(people, T0 + DAY, 1)[-1] is Reason.ALLOWED


def test_no_message_names_the_database_s_password(world: World) -> None:
    if world.database is None:
        pytest.skip("SQLite has none")
    with pytest.raises(ConsentError, match="GOV-203") as caught:
        ConsentLedger.open(world.folder / "consent", postgres="postgresql://u:s3cr3t@127.0.0.1:1/x")
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(ConsentError, match="was not named"):
        ConsentLedger.open(world.folder / "consent")
