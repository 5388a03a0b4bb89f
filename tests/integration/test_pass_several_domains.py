"""Rows that name people of two domains: each decides by its own domain's records, and is found by its own erasure.

The identifiers of the two domains are the same strings throughout, of different people.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from before_and_after import ledger_rows
from governed_home import Home, edited, refused

from governance.access import disclose, read_released
from governance.contracts import load_contract
from governance.contracts.compiled import from_json, to_json
from governance.model.evidence import Stage
from governance.pipeline.ledger import import_consent
from governance.pipeline.local import local_recorder
from governance.pipeline.membership import segment_members
from governance.pipeline.pointer import released_contract, released_manifest
from governance.pipeline.run import STEPS
from governance.protect import open_version
from governance.rights import erasure_facts, finish, request_erasure
from governance.rights.holdings import sealed_batches
from governance.rights.membership import datasets_of

pytestmark = pytest.mark.xdist_group("several domains")

VISITS = "visits"
PURPOSE = "model_training"
CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: 7a7fbb8e-6a6e-4f0f-9f5c-0a3d8a2f4c11
name: Visits
version: 1.0.0
status: active
customProperties:
  - property: governance
    value:
      kind: training
      purposes: [model_training]
      subject: {column: payer, domain: customer, others: [{column: patient, domain: patient}, second_payer]}
      jurisdiction: DE
      loadMode: append
schema:
  - name: visits
    properties:
      - {name: payer_p, physicalName: payer, logicalType: string, classification: customer_id, customProperties: [{property: protection, value: pseudonym}]}
      - {name: patient_p, physicalName: patient, logicalType: string, classification: medical_record_number, customProperties: [{property: protection, value: pseudonym}]}
      - {name: second_p, physicalName: second_payer, logicalType: string, classification: customer_id, customProperties: [{property: protection, value: pseudonym}]}
      - {name: number, logicalType: integer, classification: none, quality: [{name: small, type: custom, engine: greatExpectations, implementation: {type: expect_column_values_to_be_between, kwargs: {max_value: 999999}}, customProperties: [{property: scope, value: source}]}]}
      - {name: letter, logicalType: string, classification: free_text, customProperties: [{property: protection, value: {method: redact, arguments: {reversible: true}}}]}
"""
NAMES = [f"X-95000000{n:02}" for n in range(12)]
START = datetime(2024, 1, 1, tzinfo=UTC)
Row = dict[str, str | int]


def rows(first: int) -> list[Row]:
    """Every payer with every patient once, some with a second payer; every fifth is set aside by the rule."""
    made: list[Row] = []
    for n in range(144):
        payer, patient = NAMES[n % 12], NAMES[n // 12]
        second = NAMES[(n * 7) % 12] if n % 3 == 0 else ""
        number = first + n + (1_000_000 if n % 5 == 4 else 0)
        text = f"Bill {number} by mail to visit{n}@canary.example, please."
        made.append(
            {"payer": payer, "patient": patient, "second_payer": second, "number": number, "letter": text}
        )
    return made


def source(home: Home, first: int = 0) -> Path:
    path = home.path / "input" / f"visits-{first}.csv"
    pa_csv.write_csv(pa.Table.from_pylist(rows(first)), path)
    return path


def record(
    home: Home, folder: Path, action: str, domain: str, *subjects: str, since: datetime | None = None
) -> None:
    at = since or datetime.now(UTC)
    tables = pa.concat_tables([ledger_rows(s, (PURPOSE, action, at, None)) for s in subjects])
    place = tables.schema.get_field_index("domain")
    tables = tables.set_column(place, "domain", pa.array([domain] * tables.num_rows))
    ids = [f"{domain}-{one}" for one in tables["record_id"].to_pylist()]
    tables = tables.set_column(tables.schema.get_field_index("record_id"), "record_id", pa.array(ids))
    pq.write_table(tables, file := folder / f"{action}-{domain}-{subjects[0]}.parquet")
    import_consent(home.workspace(), file)


def expected(customers: set[str], patients: set[str], *, first: int = 0, small: bool = True) -> list[int]:
    """Numbers of the rows whose people all allow it, where those named do not."""
    return sorted(
        int(r["number"])
        for r in rows(first)
        if not {r["payer"], r["second_payer"]} & customers
        and r["patient"] not in patients
        and (not small or int(r["number"]) < 1_000_000)
    )


@pytest.fixture(scope="module")
def once(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("domains")
    home = Home.copied(prepared_home, folder / "home")
    home.contract(VISITS).write_text(CONTRACT)
    edited(
        home.path / "policy.yaml",
        lambda text: text.replace(
            "  support_inference:\n", "    detokenize: true\n  support_inference:\n", 1
        ),
    )
    for domain in ("customer", "patient"):
        record(home, folder, "grant", domain, *NAMES, since=START)
    record(home, folder, "withdraw", "customer", NAMES[0], since=datetime(2024, 6, 1, tzinfo=UTC))
    record(home, folder, "withdraw", "patient", NAMES[1], since=datetime(2024, 6, 1, tzinfo=UTC))
    run(home)
    return home.path


@pytest.fixture
def home(once: Path, tmp_path: Path) -> Home:
    return Home.copied(once, tmp_path / "home")


def run(home: Home, first: int = 0) -> None:
    home.run(
        "customer_profiles", contract_path=home.contract(VISITS), source=source(home, first), purpose=PURPOSE
    )


def read(home: Home, *, detokenize: bool = False) -> pa.Table:
    return pa.Table.from_batches(
        read_released(home.workspace(), VISITS, purpose=PURPOSE, detokenize=detokenize)
    )


def sealed(home: Home) -> list[int]:
    workspace = home.workspace()
    manifest, storage = released_manifest(workspace, VISITS), workspace.dataset_storage(VISITS)
    found = pa.Table.from_batches(open_version(storage, manifest, workspace.keyring.segment_key, ["number"]))
    return sorted(found["number"].to_pylist())


def numbers(table: pa.Table) -> list[int]:
    return sorted(table["number"].to_pylist())


def set_aside(home: Home) -> int:
    workspace = home.workspace()
    storage = workspace.dataset_storage(VISITS)
    folders = {"/".join(path.split("/")[:2]) for path in storage.list("quarantine")}
    return sum(b.num_rows for folder in folders for b in sealed_batches(storage, workspace, folder))


def erase(home: Home, request: str, domain: str, *subjects: str) -> None:
    workspace = home.workspace()
    request_erasure(
        workspace, local_recorder(workspace, "erasure", request), request=request, domain=domain,
        identifiers=pa.array(subjects), ground="objection", approve=lambda _: True,
    )  # fmt: skip


def test_each_is_decided_and_named_by_its_own_domain(home: Home) -> None:
    table = read(home, detokenize=True)
    assert numbers(table) == expected({NAMES[0]}, {NAMES[1]})
    facts = home.evidence(Stage.CONSENT, VISITS)[-1]["facts"]
    every = expected({NAMES[0]}, {NAMES[1]}, small=False)
    assert (facts["rows"], facts["allowed"]) == (144, len(every))
    assert facts["by_reason"] == {"allowed": len(every), "consent_withdrawn": 144 - len(every)}
    passing = [r for r in rows(0) if r["number"] in every]
    people = {("c", r["payer"]) for r in passing} | {("p", r["patient"]) for r in passing}
    people |= {("c", r["second_payer"]) for r in passing if r["second_payer"]}
    assert facts["subjects"]["distinct"] == 24
    assert facts["subjects"]["allowed"] == len(people)
    vault, given = home.workspace().vault, {}
    for domain in ("customer", "patient"):
        ordinals = vault.resolve(domain, pa.array(NAMES), create=False)
        released = vault.pseudonyms(domain, f"released:{domain}", ordinals)
        given[domain] = {name: row.tobytes().hex() for name, row in zip(NAMES, released, strict=True)}
    assert not set(given["customer"].values()) & set(given["patient"].values())
    by_number = {r["number"]: r for r in rows(0)}
    for row in table.to_pylist():
        came = by_number[row["number"]]
        assert row["payer_p"] == given["customer"][came["payer"]]
        assert row["patient_p"] == given["patient"][came["patient"]]
        assert row["second_p"] == given["customer"].get(came["second_payer"])
        assert row["letter"] == came["letter"], "sealed for people of both domains"


def test_a_withdrawal_counts_for_the_person_of_its_domain_alone(home: Home, tmp_path: Path) -> None:
    record(home, tmp_path, "withdraw", "patient", NAMES[5])
    gone = {NAMES[1], NAMES[5]}
    assert numbers(read(home)) == expected({NAMES[0]}, gone)
    told = disclose(
        home.workspace(), local_recorder(home.workspace(), VISITS, "d"), dataset=VISITS,
        directory=tmp_path / "out", recipient="northlake-research", purpose=PURPOSE, description="Visits",
    )  # fmt: skip
    assert told.facts["rows"] == len(expected({NAMES[0]}, gone))
    table = read(home)
    people = {v for c in ("payer_p", "patient_p", "second_p") for v in table[c].to_pylist()} - {None}
    assert told.facts["subjects"] == len(people)
    context = home.open(
        "customer_profiles", contract_path=home.contract(VISITS), source=source(home, 1000), purpose=PURPOSE
    )
    for stage, step in STEPS.items():
        if stage is Stage.RELEASE:
            # While the run goes on: found again at publish, in what it wrote and in what it carries.
            record(home, tmp_path, "withdraw", "patient", NAMES[7])
            context = home.again(context)
        step(context)
    gone.add(NAMES[7])
    assert sealed(home) == sorted(expected({NAMES[0]}, gone) + expected({NAMES[0]}, gone, first=1000))


def test_an_erasure_reaches_the_person_of_its_domain_alone_in_every_place(home: Home) -> None:
    workspace = home.workspace()
    [segment] = released_manifest(workspace, VISITS).segments
    members = segment_members(workspace, workspace.dataset_storage(VISITS), segment)
    assert members is not None
    for domain in ("customer", "patient"):
        ordinals = workspace.vault.resolve(domain, pa.array(NAMES[2:]), create=False)
        assert members.contains(workspace.vault.internal(domain)[ordinals]).all(), domain
        assert VISITS in [name for name, _, _ in datasets_of(workspace, domain)]
    aside = set_aside(home)
    erase(home, "P", "patient", NAMES[3])
    assert numbers(read(home)) == expected({NAMES[0]}, {NAMES[1], NAMES[3]})
    finish(home.workspace(), identifiers={"patient": pa.array([NAMES[3]])})
    assert sealed(home) == expected({NAMES[0]}, {NAMES[1], NAMES[3]})
    left = expected({NAMES[0]}, {NAMES[1], NAMES[3]}, small=False)
    was = expected({NAMES[0]}, {NAMES[1]}, small=False)
    gone = len([n for n in was if n >= 1_000_000]) - len([n for n in left if n >= 1_000_000])
    assert set_aside(home) == aside - gone
    # Two requests of two domains, finished together.
    erase(home, "C", "customer", NAMES[4])
    erase(home, "Q", "patient", NAMES[6])
    ended = finish(home.workspace())
    assert [facts["found"] for facts in ended] == [0, 0]
    assert sealed(home) == expected({NAMES[0], NAMES[4]}, {NAMES[1], NAMES[3], NAMES[6]})
    said = erasure_facts(home.workspace().log, "C")
    assert said is not None
    assert said["searched"]["found"] == 0


def test_a_hold_on_the_people_of_one_domain_keeps_rows_that_name_them(home: Home) -> None:
    edited(
        home.path / "policy.yaml",
        lambda text: text + "\nlegalHolds:\n  - {regime: HIPAA, ground: a claim, domains: [patient]}\n",
    )
    before = sealed(home)
    erase(home, "H", "customer", NAMES[8])
    assert numbers(read(home)) == expected({NAMES[0], NAMES[8]}, {NAMES[1]})
    finish(home.workspace())
    assert sealed(home) == before
    said = erasure_facts(home.workspace().log, "H")
    assert said is not None
    assert said["searched"]["held"] == 1


def test_contracts_say_whose_a_column_is(home: Home, tmp_path: Path) -> None:
    workspace = home.workspace()
    contract = released_contract(workspace, released_manifest(workspace, VISITS))
    assert contract.subject.domains == ("customer", "patient", "customer")
    assert from_json(to_json(contract)) == contract
    path = tmp_path / "visits.odcs.yaml"
    for others, says in (
        ("[{column: patient, domain: nobody_s}, second_payer]", "no controller"),
        ("[patient, {column: patient, domain: patient}, second_payer]", "named twice"),
        ("[patient, second_payer, {column: payer, domain: patient}]", "subject column already"),
        ("[{column: patient}, second_payer]", "domain"),
    ):
        path.write_text(CONTRACT.replace("[{column: patient, domain: patient}, second_payer]", others))
        with refused("GOV-102", "GOV-105") as caught:
            load_contract(path, workspace.policy)
        assert says in caught[0].message
    assert contract.subject.every_domain == ("customer", "patient")
