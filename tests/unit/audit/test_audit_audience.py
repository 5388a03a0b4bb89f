"""Bundles for others than the organisation: entries are proved without being shown, and nobody else's name leaves."""

from __future__ import annotations

import base64
import contextlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from audit_story import CLINICAL, released
from audit_world import World
from jsonschema import Draft202012Validator
from test_audit_access import asked  # noqa: F401 - a fixture
from test_audit_bundles import Members, check, edited, relisted

from governance.audit import MadeReport, make_report, verify_bundle
from governance.audit.audience import AUDIENCES, Contents, contents
from governance.audit.checking import container
from governance.audit.standalone import answering
from governance.errors import AuditError
from governance.model.canonical import canonical
from governance.model.evidence import Stage
from governance.model.resources import schemas

KINDS = {"auditor": "gdpr-art17", "regulator": "compliance", "partner": "compliance"}


@pytest.fixture(scope="module")
def bundles(world: World, asked: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, MadeReport]:  # noqa: F811
    folder = tmp_path_factory.mktemp("audiences")
    made = {n: make_report(world, kind, folder, bundle=True, audience=n) for n, kind in KINDS.items()}
    return made | {"subject": make_report(world, "gdpr-art15", folder, bundle=True, asked=asked)}


def members(made: MadeReport) -> Members:
    assert made.bundle is not None
    return dict(container.read(made.bundle).members)


def decoded(value: Any) -> Iterator[bytes]:
    """Every text of a JSON document, and what it holds in base64."""
    if isinstance(value, dict):
        for each in value.values():
            yield from decoded(each)
    elif isinstance(value, list):
        for each in value:
            yield from decoded(each)
    elif isinstance(value, str):
        yield value.encode()
        with contextlib.suppress(ValueError):
            yield base64.b64decode(value, validate=True)


@pytest.mark.parametrize("name", [*KINDS, "subject"])
def test_what_an_audience_is_given_verifies_and_says_what_is_withheld(
    world: World,
    bundles: dict[str, MadeReport],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    made, files = bundles[name], members(bundles[name])
    stated, audience = made.record["audience"], AUDIENCES[name]
    assert made.bundle is not None and made.bundle.name.endswith(f"-{name}.zip")
    assert json.loads(files["record.json"]) == json.loads(made.json.read_bytes())
    entries = {
        e["index"]: (e, json.loads(files[f"entries/{e['index']}.json"])) for e in made.record["entries"]
    }
    for described, carried in entries.values():
        held = contents(described["media_type"], described["principal"])
        assert described["body"] == (
            "redacted"
            if described["body"] == "redacted"
            else "present"
            if held in audience.gives
            else "withheld"
        )
        assert (carried.get("body") is None) == (described["body"] != "present")
        assert ("leaf" in carried) == (audience.senders or held is Contents.KEYS)
    assert stated["withheld"] == sum(e["body"] == "withheld" for e, _ in entries.values()) > 0
    assert (
        f"{stated['withheld']:,} of {stated['bodies']:,} bodies are withheld" in made.record["statements"][-1]
    )
    verdict = verify_bundle(made.bundle, world.vkey)
    assert (verdict.ok, verdict.first_failure) == (True, None)
    assert (verdict.audience, verdict.bodies_withheld) == (name, stated["withheld"])
    assert verdict.rows_checked == len(made.record["rows"])
    hidden = [
        cell
        for row in made.record["rows"]
        for cell in row["cells"].values()
        if any(entries[index][0]["body"] == "withheld" for index in cell["cites"])
    ]
    assert any(
        line.startswith(f"Body withheld for this audience: {len(hidden)} cells") for line in verdict.lines
    )
    assert made.html.read_text("utf-8").count("body withheld for this audience") >= len(hidden)
    assert answering.main([str(made.bundle), "--key", world.vkey, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] and any(f"{len(hidden):,} cells rest on them" in line for line in said["lines"])


def test_rows_are_the_same_for_every_audience(
    world: World, bundles: dict[str, MadeReport], tmp_path: Path
) -> None:
    for name, kind in KINDS.items():
        whole = make_report(world, kind, tmp_path, bundle=True)
        assert "audience" not in whole.record and whole.bundle is not None
        assert verify_bundle(whole.bundle, world.vkey).audience == "internal"
        for member in ("rows", "exceptions", "unknowns", "verdict", "as_of", "columns"):
            assert bundles[name].record[member] == whole.record[member], (name, member)


def test_the_files_conform_to_their_schemas(bundles: dict[str, MadeReport]) -> None:
    of_bundle, of_record = (
        Draft202012Validator(json.loads((schemas() / f"{name}.schema.json").read_text("utf-8")))
        for name in ("bundle", "report")
    )
    for made in bundles.values():
        files = members(made)
        of_record.validate(json.loads(files["record.json"]))
        base = {n: json.loads(files[n]) for n in ("manifest.json", "signature.json", "proofs.json")}
        for name in (n for n in files if n.startswith("entries/")):
            of_bundle.validate(base | {"entries/N.json": json.loads(files[name])})


@pytest.mark.parametrize(
    ("name", "audience", "says"),
    [
        ("gdpr-art15", "internal", "for one subject"),
        ("gdpr-art15", "regulator", "for one subject"),
        ("gdpr-art30", "subject", "more than one subject"),
        ("gdpr-art30", "everybody", "no audience"),
    ],
)
def test_a_report_is_not_made_for_whom_it_is_not(
    world: World, tmp_path: Path, name: str, audience: str, says: str
) -> None:
    with pytest.raises(AuditError, match=says) as fault:
        make_report(world, name, tmp_path, bundle=True, audience=audience)
    assert fault.value.code == "GOV-804" and list(tmp_path.iterdir()) == []


def test_where_nothing_is_withheld_every_row_is_computed_again(world: World, tmp_path: Path) -> None:
    made = make_report(world, "compliance", tmp_path, bundle=True, audience="auditor")
    assert made.bundle is not None and made.record["audience"]["withheld"] == 0
    verdict = verify_bundle(made.bundle, world.vkey)
    assert verdict.ok and any("rows were computed again from the entries" in line for line in verdict.lines)


def _stripped(files: Members, world: World, **also: Any) -> Members:
    """An internal bundle whose first evidence lost its body, signed again by the operator."""
    name = next(n for n in sorted(files) if n.startswith("entries/") and n != "entries/0.json")
    return relisted(edited(files, lambda e: e.update(body=None, salt=None, **also), name), world.root)


def test_a_body_cannot_be_left_out_unsaid(
    world: World, tmp_path: Path, accounting: MadeReport, bundles: dict[str, MadeReport]
) -> None:
    failure = check(tmp_path, world, _stripped(members(accounting), world)).first_failure
    assert failure and failure.startswith("record.json")
    for name in ("auditor", "subject"):
        files = members(bundles[name])
        lies: list[Any] = [
            lambda r: r["audience"].update(withheld=r["audience"]["withheld"] - 1),
            lambda r: r["audience"].update(name="regulator"),
            lambda r: r["audience"].update(name=[]),
            lambda r: r.update(audience=None),
            lambda r: r.pop("audience"),
            lambda r: r["statements"].pop(),
            lambda r: r["rows"][0]["cells"].popitem(),
            lambda r: next(iter(r["rows"][0]["cells"].values())).update(cites=[10**6]),
            lambda r: r["entries"].pop(),
            lambda r: r["entries"][1].update(body="redacted"),
            lambda r: r["entries"][1].update(leaf_hash="00" * 32),
            lambda r: r["entries"][0].update(media_type="text/plain"),
            lambda r: r["as_of"].update(size=1),
        ]
        for lie in lies:
            verdict = check(tmp_path, world, relisted(edited(files, lie), world.root))
            assert not verdict.ok and verdict.first_failure
            assert verdict.first_failure.startswith(("record.json: ", "entries/")), verdict.first_failure
        entry = (
            next(n for n in files if n.startswith("entries/") and b"leaf_hash" in files[n])
            if name == "subject"
            else ""
        )
        for edit in (
            lambda e: e.update(leaf_hash=base64.b64encode(bytes(32)).decode()),
            lambda e: e.update(x=1),
        ):
            if entry:
                failure = check(
                    tmp_path, world, relisted(edited(files, edit, entry), world.root)
                ).first_failure
                assert failure and failure.startswith(f"{entry}: "), failure


def test_only_the_operator_can_say_what_withheld_entries_said(
    world: World, tmp_path: Path, bundles: dict[str, MadeReport]
) -> None:
    def lie(record: dict[str, Any]) -> None:
        next(c for c in record["rows"][0]["cells"].values() if c["value"])["value"] = "nothing"

    verdict = check(tmp_path, world, relisted(edited(members(bundles["subject"]), lie)))
    assert (
        not verdict.ok
        and verdict.first_failure
        and verdict.first_failure.startswith(("report.html", "signature.json"))
    )


EMPLOYEE, OTHER = "j.canary-of-staff", "CANARY-of-another-person"


def test_no_other_person_and_no_employee_stands_in_a_subjects_bundle(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    policy = world.policy(lambda text: f"{text}\n# {EMPLOYEE} {OTHER}\n")
    contract = world.contract("clinical_encounters")
    run = world.open("clinical_encounters", "model_training", policy=policy, contract=contract, run_id="r1")
    run.principal = f"evidence:{EMPLOYEE}"
    released(run, CLINICAL)
    world.disclose(run, 1, "research", {"excluded": False}, note=f"{OTHER} {EMPLOYEE}")
    run.prove(
        Stage.KEY_GRANT, {"state": "granted", "task": {"dag_id": EMPLOYEE}, "for": OTHER}, signer=world.root
    )
    world.put(
        canonical({"caller": EMPLOYEE, "pseudonym": OTHER}),
        "application/vnd.governance.access+json",
        f"audit:{EMPLOYEE}",
    )
    chosen = {
        "subject": "0f" * 16,
        "versions": [f"clinical_encounters {run.context['version']}"],
        "disclosures": [f"d{1:024x}"],
    }
    made = make_report(world, "gdpr-art15", tmp_path, bundle=True, asked=chosen, forms=("csv", "pdf", "xlsx"))
    assert made.bundle is not None and verify_bundle(made.bundle, world.vkey).ok
    [row] = made.record["rows"]
    assert row["cells"]["recipients"]["value"] and row["cells"]["consultations"]["basis"] == "observed"
    cited = {index for cell in row["cells"].values() for index in cell["cites"]}
    planted = [
        index
        for index in cited
        if EMPLOYEE.encode() in world.log.entry(index).leaf + (world.log.entry(index).body or b"")
    ]
    assert len(planted) >= 3  # the canaries stand in what the report rests on
    files = members(made) | {path.name: path.read_bytes() for path in (made.html, made.json)}
    texts = [
        *files.values(),
        *(t for n, d in files.items() if n.endswith(".json") for t in decoded(json.loads(d))),
    ]
    for form in made.forms:
        texts.append(form.read_bytes())
        if form.suffix == ".xlsx":
            with zipfile.ZipFile(form) as book:
                texts += [book.read(name) for name in book.namelist()]
    for canary in (EMPLOYEE, OTHER):
        assert not [text for text in texts if canary.encode() in text], canary

    # An auditor is not told who looked something up; that takes nothing from what can be checked.
    bundle = make_report(world, "gdpr-art30", tmp_path, bundle=True, audience="auditor").bundle
    assert bundle is not None
    verdict = verify_bundle(bundle, world.vkey)
    assert verdict.ok and verdict.bodies_withheld == 1
    assert any("computed again from the bodies that are here" in line for line in verdict.lines)
