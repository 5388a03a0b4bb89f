"""Consent records of ISO/IEC TS 27560, defective authorizations, consents of minors, receipts."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_consent_import import internal, row, write

from governance.consent import ConsentLedger, CoveredVersion, receipt
from governance.consent.proof import custodian_key, open_proof
from governance.errors import ConsentError, ConsentFindings, SettingError
from governance.model.decision import Reason, Regime
from governance.model.policy import Purpose

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PURPOSE = Purpose("training", "Training", "consent", "explicit_consent", "authorization", True)
DPV = "https://w3id.org/dpv#"


def record(number: int, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A record as the DPV guide for the standard writes it, keys in full."""
    return {
        "@id": f"https://example.com/records#{number}",
        "@type": DPV + "ConsentRecord",
        DPV + "hasIdentifier": f"r{number}",
        DPV + "hasDataSubject": f"S{number}",
        DPV + "hasPurpose": {"@type": DPV + "Purpose", "http://purl.org/dc/terms/identifier": "training"},
        DPV + "hasNotice": {"@id": "https://example.com/notice"},
        "http://purl.org/dc/terms/hasPart": list(events),
        **more,
    }


def event(state: str, at: datetime, **more: Any) -> dict[str, Any]:
    date = {"@type": "http://www.w3.org/2001/XMLSchema#dateTime", "@value": at.isoformat()}
    return {
        "@type": [DPV + state, DPV + "ExplicitlyExpressedConsent"],
        "http://purl.org/dc/terms/date": date,
        **more,
    }


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = ConsentLedger.create(folder / "consent")

    def take(self, path: Path, **more: Any) -> Any:
        return self.ledger.import_file(
            path, internal=internal, record=lambda body: body["position"], recorded_at=T0 + DAY, **more
        )

    def document(self, document: Any, **more: Any) -> Any:
        path = self.folder / "records.jsonld"
        path.write_text(json.dumps(document))
        return self.take(path, domain="patient", **more)

    def reasons(self, *subjects: str, at: datetime = T0 + 2 * DAY, regime: Regime = Regime.GDPR) -> list[str]:
        population = internal("patient", pa.array(subjects))
        snapshot = self.ledger.snapshot(PURPOSE, "patient", at, self.ledger.position, population)
        rows = np.arange(len(subjects))
        return [Reason(c).label for c in snapshot.decide(rows, np.full(len(rows), regime, np.uint8), False)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_graph_of_dpv_records_is_taken_in(world: World) -> None:
    hour = {DPV + "hasDuration": 3600}
    guardian = {DPV + "hasEntity": {"@type": DPV + "ParentOfDataSubject"}}
    graph = [
        record(1, event("ConsentGiven", T0)),
        record(2, event("ConsentGiven", T0), **{DPV + "hasPart": event("ConsentWithdrawn", T0 + DAY)}),
        record(3, event("ConsentGiven", T0, **hour)),
        record(4, event("ConsentRequested", T0), event("ConsentGiven", T0, **guardian)),
        record(5, event("ConsentRequested", T0), event("ConsentRefused", T0)),
        {"@id": "x", "@type": DPV + "DPIA"},
    ]
    assert world.document({"@graph": graph}).rows == 6
    assert world.reasons("S1", "S2", "S3", "S4", "S5") == [
        "allowed", "consent_withdrawn", "consent_expired", "allowed", "consent_withdrawn",
    ]  # fmt: skip
    assert world.document({"@graph": graph}).duplicates == 6


def test_the_plain_json_of_the_standard_is_taken_in(world: World) -> None:
    document = {
        "record": {"record_id": "r1", "pii_principal_id": "S1"},
        "pii_processing": {"privacy_notice": "n", "purposes": [{"purpose": "training"}]},
        "event": [{"event_time": "2026-01-01T00:00:00Z", "duration": "0", "state": "given"}],
    }
    assert world.document(document).rows == 1
    flat = world.folder / "flat.json"
    flat.write_text(json.dumps([row(7), row(8)]))
    assert world.take(flat).rows == 2


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        3,
        {"@graph": []},
        record(1),
        record(1, event("SecretState", T0)),
        record(1, event("ConsentGiven", T0, **{DPV + "hasDuration": "Secret"})),
        {**record(1, event("ConsentGiven", T0)), DPV + "hasDataSubject": ["Secret", "S2"]},
        record(1, {**event("ConsentGiven", T0), "http://purl.org/dc/terms/date": "Secret"}),
        record(1, event("ConsentGiven", T0.replace(tzinfo=None))),
    ],
)
def test_what_is_no_record_is_refused_without_its_values(world: World, document: Any) -> None:
    with pytest.raises(ConsentFindings, match="GOV-201") as caught:
        world.document(document)
    assert "Secret" not in str(caught.value)
    assert world.ledger.position == 0


def test_a_child_s_consent_needs_a_guardian_below_the_age_of_its_state(world: World) -> None:
    rows = [
        row(number, given_by=given_by, birth_date=born, country=country, action=action, authority=authority,
            valid_to="2027-01-01T00:00:00Z")
        for number, (given_by, born, country, action, authority) in enumerate(
            [
                ("", "2009-06-01", "DE", "grant", ""),
                ("subject", "2009-06-01", "AT", "grant", ""),
                ("guardian", "2009-06-01", "DE", "grant", ""),
                ("", "2009-01-01", "DE", "grant", ""),
                ("", "2009-06-01", "", "grant", ""),
                ("", "2008-06-01", "US", "authorize", ""),
                ("guardian", "2008-06-01", "US", "authorize", "parent"),
                ("guardian", "2008-06-01", "US", "authorize", ""),
            ]
        )
    ]  # fmt: skip
    batch = world.take(write(world.folder / "file.csv", rows))
    assert batch.rows == 8
    consents = world.reasons(*(f"S{n}" for n in range(5)))
    assert consents == ["no_consent", "allowed", "allowed", "allowed", "no_consent"]
    authorized = world.reasons("S5", "S6", "S7", regime=Regime.HIPAA)
    assert authorized == ["no_authorization", "allowed", "no_authorization"]
    stored = world.ledger.table(1)
    assert {"birth_date", "country", "authority"}.isdisjoint(stored.column_names)
    [subject] = internal("patient", pa.array(["S0"]))
    told = world.ledger.explain(subject.tobytes(), PURPOSE, "patient", T0, 1)
    assert "permits nothing: minor" in "\n".join(told.reasoning)


def test_a_defective_authorization_permits_nothing(world: World) -> None:
    rows = [
        row(1, action="authorize", expiry_event="end of the study", defect=""),
        row(2, action="authorize", expiry_event="", defect=""),
        row(3, action="authorize", expiry_event="none", defect="compound"),
        row(4, action="authorize", expiry_event="end of the study", defect=""),
        row(5, action="expire", subject_id="S4", expiry_event="", defect=""),
    ]
    world.take(write(world.folder / "file.csv", rows))
    assert world.reasons("S1", "S2", "S3", "S4", regime=Regime.HIPAA) == [
        "allowed", "no_authorization", "no_authorization", "authorization_expired",
    ]  # fmt: skip
    bad = write(world.folder / "bad.csv", [row(9, defect="Secret", given_by="Secret", birth_date="Secret")])
    with pytest.raises(ConsentFindings) as caught:
        world.take(bad)
    assert "Secret" not in str(caught.value)
    assert str(caught.value).count("1 row: 1") == 3


def test_a_receipt_states_what_it_covers_and_is_read_again(world: World) -> None:
    world.document(record(1, event("ConsentGiven", T0)))
    [subject] = internal("patient", pa.array(["S1"]))
    told = world.ledger.explain(subject.tobytes(), PURPOSE, "patient", T0 + 2 * DAY, 1)
    covered = CoveredVersion("clinic", "v1", "sha256:00", 1, T0)
    made = receipt(
        told, subject="S1", domain="patient", purpose=PURPOSE, controller="ACME", position=1,
        issued_at=T0 + 2 * DAY, covered=[covered],
    )  # fmt: skip
    assert made["governance:covers"][0]["manifest"] == "sha256:00"
    assert made["governance:standing"]["allowed"] is True
    other = World(world.folder / "other")
    path = other.folder / "receipt.jsonld"
    path.write_text(json.dumps(made))
    assert other.take(path).rows == 1
    assert other.reasons("S1") == ["allowed"]


def test_proof_is_sealed_to_its_custodian_and_kept_apart(world: World) -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    source = write(world.folder / "file.csv", [row(1, subject_id="Secret-4711")])
    batch = world.take(source, custodian=key.public_key().public_bytes_raw())
    folder = world.folder / "consent" / "proof"
    [kept] = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o700, 0o600)
    assert kept.stem == batch.source_digest.removeprefix("sha256:")
    assert b"Secret" not in kept.read_bytes()
    assert open_proof(kept, key.private_bytes_raw()) == source.read_bytes()
    with pytest.raises(ConsentError, match="GOV-203"):
        open_proof(kept, other.private_bytes_raw())
    with pytest.raises(ConsentError, match="GOV-203"):
        open_proof(kept.rename(folder / f"{'0' * 64}.sealed"), key.private_bytes_raw())
    # What no batch stands on, such as a killed import's, goes with the next import.
    world.take(write(world.folder / "next.csv", [row(2)]))
    assert list(folder.iterdir()) == []
    key_file = base64.b64encode(key.private_bytes_raw()) + b"\n"
    assert custodian_key(key_file) == key.private_bytes_raw()
    with pytest.raises(SettingError, match="GOV-901"):
        custodian_key(b"not a key")
