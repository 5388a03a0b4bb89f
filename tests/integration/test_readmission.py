"""Somebody who was erased asks to be a customer again: who may let them, what is written down, and as whom they come."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from before_and_after import ledger_rows, logged_text
from governed_home import Home, refused

from governance.keys.vault.vault import SubjectVault
from governance.model.canonical import parse
from governance.model.signed_leaf import is_signed
from governance.model.statements import READMITTED
from governance.pipeline.ledger import import_consent
from governance.pipeline.local import local_recorder
from governance.rights import finish, readmit, request_erasure

ADA, BEN, HELD = "C-9400000001", "C-9400000002", "C-9400000003"
OFFICER = "ines.alvarado"


def erase(home: Home, request: str, *subjects: str) -> None:
    workspace = home.workspace()
    request_erasure(
        workspace,
        local_recorder(workspace, "erasure", request),
        request=request,
        domain="customer",
        identifiers=pa.array(subjects),
        ground="objection",
        approve=lambda _: True,
    )


def come_back(home: Home, *subjects: str, request: str = "W-1", by: str = OFFICER) -> int:
    return readmit(
        home.workspace(),
        request=request,
        domain="customer",
        identifiers=pa.array(subjects),
        by=by,
        reason="asked in writing to be a customer again",
        entered_by="desk",
    )


def known(home: Home, subject: str, *, create: bool = False) -> tuple[int, bytes]:
    vault = home.workspace().vault
    (ordinal,) = vault.resolve("customer", pa.array([subject]), create=create)
    return int(ordinal), vault.internal("customer")[ordinal].tobytes() if ordinal >= 0 else b""


@pytest.fixture(scope="module")
def home(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("readmission")
    home = Home.copied(prepared_home, folder / "home")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [ledger_rows(s, ("model_training", "grant", start, None)) for s in (ADA, BEN, HELD)]
    pq.write_table(pa.concat_tables(rows), folder / "grants.parquet")
    import_consent(home.workspace(), folder / "grants.parquet")
    return home


def test_a_person_comes_back_as_a_stranger_by_a_decision_that_is_on_record(home: Home) -> None:
    _, before = known(home, ADA)
    erase(home, "E-1", ADA, BEN)
    with refused("GOV-605", free_of=(ADA,)) as caught:
        come_back(home, ADA)
    assert "not finished" in caught[0].message
    finish(home.workspace())
    assert known(home, ADA, create=True)[0] == -1
    for arguments in ({"by": "somebody"}, {"request": "no name"}):
        with refused("GOV-605", free_of=(ADA,)):
            come_back(home, ADA, **arguments)
    with refused("GOV-605", free_of=(ADA,)):
        come_back(home, ADA, "C-9499999999")

    arguments = ("--domain", "customer", "--request", "W-2", "--by", OFFICER, "--reason", "asked in writing")
    with mock.patch.object(sys, "stdin", io.StringIO(f"{ADA}\n")):
        code, out, err = home.cli("subject", "readmit", "-", *arguments)
    assert (code, err) == (0, "")
    assert "readmitted" in out
    ordinal, after = known(home, ADA, create=True)
    assert ordinal >= 0
    assert after not in (before, bytes(16))
    assert known(home, BEN, create=True)[0] == -1
    workspace = home.workspace()
    leaves = [e for e in workspace.log.entries() if e.envelope.media_type == READMITTED]
    (said,) = (parse(entry.body or b"") for entry in leaves)
    assert is_signed(said, READMITTED, workspace.keyring.evidence_signer.public_key)
    assert (said["request"], said["by"], said["reason"], said["subjects"]) == (
        "W-2",
        OFFICER,
        "asked in writing",
        1,
    )
    assert ADA not in logged_text(home)
    with refused("GOV-605"):
        come_back(home, ADA)


def test_killed_after_the_leaf_the_person_is_still_denied_and_the_act_is_repeated(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SubjectVault, "reseal", killed)
        come_back(home, BEN, request="W-3")
    assert known(home, BEN, create=True)[0] == -1
    come_back(home, BEN, request="W-3")
    assert known(home, BEN, create=True)[0] >= 0


def test_who_is_kept_for_a_legal_hold_does_not_come_back_under_the_former_pseudonym(home: Home) -> None:
    vault = home.workspace().vault
    ordinal, _ = known(home, HELD)
    vault.reseal(
        suppressed={"customer": vault.suppression_marks("customer", pa.array([HELD]))},
        restricted={"customer": np.array([ordinal])},
    )
    with refused("GOV-605", free_of=(HELD,)) as caught:
        come_back(home, HELD, request="W-4")
    assert "legal hold" in caught[0].message
