"""How long archived bodies are kept, and how they go: never before their periods, never without a leaf.

A body may go once every ``atLeast`` of the policy has passed, and should once every period has: then it is
*due*. Where one regime's minimum is longer than another's maximum, the minimum wins. Envelopes, salted
digests and proofs stay for good, so the log verifies as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from governance.errors import LogError
from governance.log.archives.archive import resume
from governance.log.archives.archive_rows import ArchiveRow
from governance.log.archives.archives import PRUNE
from governance.log.envelope import check_names
from governance.log.sealing import NewEntry
from governance.model.canonical import canonical, instant, timestamp
from governance.model.retention import Retention

if TYPE_CHECKING:
    from governance.log.log import Log


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy's periods at one instant.

    What was recorded before ``may_go`` has outlived every minimum, what was recorded before ``due`` every
    period; both are None without a policy. ``conflicts`` names, in words, where a minimum overrides a maximum.
    """

    retention: tuple[Retention, ...]
    now: datetime
    may_go: datetime | None
    due: datetime | None
    conflicts: tuple[str, ...]

    @classmethod
    def of(cls, retention: Sequence[Retention], now: datetime) -> Limits:
        """The limits of a policy's ``retention`` at ``now`` (aware)."""
        least = {r.regime: r.at_least.before(now) for r in retention if r.at_least}
        most = {r.regime: r.at_most.before(now) for r in retention if r.at_most}
        conflicts = tuple(
            f"{longer} asks for longer than {cap} allows: {longer} wins"
            for longer, since in least.items()
            for cap, until in most.items()
            if since < until
        )
        bounds = [*least.values(), *([max(most.values())] if most else [])]
        due = min(bounds, default=None)
        return cls(tuple(retention), now, min(least.values(), default=due), due, conflicts)

    def broken(self, newest: datetime) -> list[str]:
        """The regimes whose minimum something recorded at ``newest`` has not outlived."""
        return [r.regime for r in self.retention if r.at_least and newest >= r.at_least.before(self.now)]


@dataclass(frozen=True, slots=True)
class Kept:
    """An archive, and how its bodies stand: their recorded times, and whether they may go or are due."""

    archive: ArchiveRow
    bodies: int
    oldest: datetime
    newest: datetime
    may_go: bool
    due: bool


def kept(log: Log, limits: Limits) -> list[Kept]:
    """Every archive that was not pruned, oldest first."""
    found = []
    for row in log.storage.archives():
        if row.pruned is None:
            said = log.archives.statement(row)
            newest = instant(said.newest)
            may_go = limits.may_go is not None and newest < limits.may_go
            due = limits.due is not None and newest < limits.due
            found.append(Kept(row, said.bodies, instant(said.oldest), newest, may_go, due))
    return found


def prune(
    log: Log,
    limits: Limits,
    *,
    ground: str,
    authoriser: str,
    policy_digest: str | None,
    before: datetime | None = None,
    shorten: str | None = None,
) -> list[ArchiveRow]:
    """Delete the archived bodies that are due; return their archives. A leaf says what, why and who.

    Args:
        ground: why, in words; it stays in the log.
        authoriser: the principal who decided it.
        policy_digest: digest of the policy that the limits are of; None without one.
        before: delete what was recorded before it instead of what is due.
        shorten: the ground on which bodies are deleted although a period of the policy has not passed, or
            although there is no policy. The leaf says so, with the regimes it goes below.

    Raises:
        LogError: GOV-508 when the authoriser is no principal, GOV-518 when a period has not passed and
            ``shorten`` names no ground, GOV-516 and GOV-517
            when an archive is not at hand or does not verify.
        SettingError: GOV-901 when the log was opened without its signing key.
    """
    check_names(authoriser, PRUNE)
    log.checkpoint(ask_witnesses=False)
    resume(log)
    chosen = [k for k in kept(log, limits) if (k.newest < before if before else k.due)]
    for item in chosen:
        broken = limits.broken(item.newest)
        if shorten is None and (broken or limits.may_go is None):
            raise _too_early(item, broken)
    pruned = []
    for item in chosen:
        row, broken = item.archive, limits.broken(item.newest)
        path = log.archives.path(row)
        statement: dict[str, Any] = {
            "v": 1,
            "first": row.first,
            "stop": row.stop,
            "file": row.file,
            "digest": log.archives.statement(row).digest,
            "bodies": item.bodies,
            "oldest": timestamp(item.oldest),
            "newest": timestamp(item.newest),
            "ground": ground,
            "authoriser": authoriser,
            "policy": policy_digest,
            "periods": {
                r.regime: {"atLeast": str(r.at_least or "") or None, "atMost": str(r.at_most or "") or None}
                for r in limits.retention
            },
            "shortened": {"ground": shorten, "below": broken}
            if shorten and (broken or not limits.may_go)
            else None,
        }
        with log.storage.turn() as turn:
            if row not in turn.archives():
                raise LogError(
                    "GOV-518",
                    "another process changed the archives meanwhile",
                    "Run `governance log prune` again.",
                )
            now = replace(row, pruned=turn.size)
            log.state(turn, [NewEntry(canonical(statement), PRUNE, authoriser)])
            turn.put_archive(now, path)
        pruned.append(now)
    # The leaf is under a signature before the file goes.
    log.checkpoint(ask_witnesses=False)
    log.archives.settle()
    return pruned


def _too_early(item: Kept, broken: Sequence[str]) -> LogError:
    span = f"the bodies of entries {item.archive.first} to {item.archive.stop - 1}"
    why = f"the period of {' and '.join(broken)} has not passed" if broken else "the policy sets no period"
    return LogError(
        "GOV-518",
        f"{span} may not be pruned: {why}",
        "Wait, or name the ground for going below the policy with --shorten; the log keeps it.",
    )
