"""The run: what was pinned when it opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from governance.model.canonical import canonical, digest, instant, timestamp
from governance.model.dataset import SourceFile, SourceSnapshot


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """One attempt at a version, pinned. Holds no personal data; it may travel by reference.

    ``consent_position`` counts the ledger's batches the run may see. ``map_index`` is −1 for a run
    that is not mapped. ``detectors`` are the policy's files of detectors with their digests.
    ``run_public_key`` is base64 of the Ed25519 key that signs its evidence.
    ``corrections_position`` is a log size: the run obeys the corrections of classifications before it.
    ``tombstones`` counts the erasures that the subject vault had carried out.
    """

    dataset: str
    kind: str
    run_id: str
    map_index: int
    attempt: str
    purpose: str
    opened_at: datetime
    source: SourceSnapshot
    contract_digest: str
    policy_digest: str
    consent_position: int
    version: str
    previous_version: str | None
    run_public_key: str
    detectors: tuple[tuple[str, str], ...] = ()
    corrections_position: int = 0
    tombstones: int = 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "opened_at": timestamp(self.opened_at)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> OpenedRun:
        source = dict(data["source"])
        source["files"] = tuple(SourceFile(**f) for f in source["files"])
        return cls(
            **{
                **data,
                "source": SourceSnapshot(**source),
                "opened_at": instant(data["opened_at"]),
                "detectors": tuple((name, pinned) for name, pinned in data.get("detectors", ())),
            }
        )


def version_id(
    *,
    dataset: str,
    run_id: str,
    map_index: int,
    source_digest: str,
    contract_digest: str,
    policy_digest: str,
    consent_position: int,
) -> str:
    """The id of a dataset version: ``v`` and 24 hexadecimal digits of a digest over all it stands on."""
    stands_on = {
        "dataset": dataset,
        "run_id": run_id,
        "map_index": map_index,
        "source": source_digest,
        "contract": contract_digest,
        "policy": policy_digest,
        "consent_position": consent_position,
    }
    return "v" + digest(canonical(stands_on)).removeprefix("sha256:")[:24]
