"""A pass whose contract asks for k-anonymity and Safe Harbor: what is released, proven and refused."""

from __future__ import annotations

from collections import Counter

import pytest
from governed_home import Home

from governance.errors import ContractError, ProtectionError
from governance.lineage.facets import nonconformities
from governance.model.canonical import digest
from governance.model.evidence import Stage

DATASET = "clinical_encounters"
LOAD_MODE = "      loadMode: full\n"
ANONYMITY = """      anonymity:
        quasiIdentifiers:
          - {column: birth_year, ranges: [5, 10, 20, 40]}
          - {column: zip3, prefixes: [2, 1]}
          - sex
        k: 3
        maxSuppression: 0.1
"""
SAFE_HARBOR = """      deidentification:
        profile: safe_harbor
        noActualKnowledge: {declaredBy: A privacy officer, date: "2020-01-31"}
"""
EXPERT = "      deidentification: {profile: expert_determination, determination: encounters}\n"


def claims(home: Home, *said: str) -> None:
    path = home.contract(DATASET)
    text = path.read_text("utf-8")
    assert LOAD_MODE in text
    path.write_text(text.replace(LOAD_MODE, LOAD_MODE + "".join(said)), "utf-8")


def facet(home: Home) -> dict[str, object]:
    events = [e for e in home.events() if "governance_protect" in e.get("run", {}).get("facets", {})]
    found: dict[str, object] = events[-1]["run"]["facets"]["governance_protect"]
    return found


def test_a_release_is_as_anonymous_as_its_contract_asks_and_says_so(home: Home) -> None:
    claims(home, ANONYMITY, SAFE_HARBOR)
    home.run(DATASET)
    rows = home.rows(DATASET).to_pylist()
    classes: dict[tuple[object, ...], set[str]] = {}
    for row in rows:
        classes.setdefault((row["birth_year"], row["zip3"], row["sex"]), set()).add(row["patient_pseudonym"])
    proven = facet(home)
    assert nonconformities(proven) == []
    facts = proven["facts"]
    assert isinstance(facts, dict)
    evidence = facts["anonymity"]
    assert min(map(len, classes.values())) >= evidence["measured"]["k"] >= 3
    assert evidence["measured"]["classes"] == len(classes)
    assert evidence["measured"]["rows"] == facts["rows_out"] == len(rows)
    assert facts["quarantined_by_rule"].get("anonymity", 0) == evidence["suppressed"]
    assert evidence["suppressed"] <= 0.1 * (len(rows) + evidence["suppressed"])
    assert facts["rows_in"] == facts["rows_out"] + facts["rows_denied"] + facts["rows_quarantined"]

    claim = facts["deidentification"]
    assert claim["profile"] == "safe_harbor"
    assert [entry["paragraph"] for entry in claim["identifiers"]] == list("ABCDEFGHIJKLMNOPQR")
    methods = Counter(c["method"] for entry in claim["identifiers"] for c in entry["columns"])
    assert methods["drop"] > methods["keep"] == 0
    assert claim["free_text"]["columns"] and all(0 < s["recall"] < 1 for s in claim["free_text"]["recall"])


def test_what_cannot_be_met_or_is_no_safe_harbor_leaves_nothing_behind(home: Home) -> None:
    before = home.contract(DATASET).read_text("utf-8")
    claims(home, ANONYMITY.replace("k: 3", "k: 900000"))
    with pytest.raises(ProtectionError) as caught:
        home.run(DATASET)
    assert caught.value.code == "GOV-317"

    home.contract(DATASET).write_text(before, "utf-8")
    claims(home, SAFE_HARBOR.replace("2020-01-31", "2999-01-31"))
    with pytest.raises(ContractError) as refused:
        home.run(DATASET)
    assert refused.value.code == "GOV-318"
    assert not list(home.root(DATASET).glob("segments/*"))
    assert home.pointer(DATASET) is None


def test_an_experts_determination_is_cited_while_it_holds(home: Home) -> None:
    document = home.settings.policy.parent / "encounters.pdf"
    document.write_bytes(b"methods and results")
    policy = home.settings.policy.read_text("utf-8")
    stated = """determinations:
  encounters:
    expert: Somebody, PhD, statistical disclosure control
    method: k-anonymity against public registers
    decided: "2020-01-31"
    expires: "{expires}"
    risk: very small
    document: encounters.pdf@{digest}
    datasets: [clinical_encounters]
"""
    pinned = digest(document.read_bytes())
    claims(home, EXPERT)
    home.settings.policy.write_text(policy + stated.format(expires="2020-02-01", digest=pinned), "utf-8")
    with pytest.raises(ContractError) as caught:
        home.run(DATASET)
    assert caught.value.code == "GOV-318"
    home.settings.policy.write_text(policy + stated.format(expires="2999-01-31", digest=pinned), "utf-8")
    home.run(DATASET)
    proven = facet(home)
    assert nonconformities(proven) == []
    facts = proven["facts"]
    assert isinstance(facts, dict)
    assert facts["deidentification"]["determination"]["document_digest"] == pinned
    assert Stage.PROTECT.value in home.manifest(DATASET).body["evidence"]
