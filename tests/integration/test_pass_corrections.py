"""A person's correction rules the next pass, which checks it again; what lineage brings is explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
from governed_home import Home, edited, refused

from governance.model.evidence import Stage
from governance.pipeline.corrections import MEMORY, corrections_before

CUSTOMERS = "customer_profiles"
TIER = "marketing_segment"


def with_values(path: Path, column: str, values: list[str]) -> None:
    """Rewrite one column of a CSV file, the values over and over."""
    every = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(strings_can_be_null=True))
    filled = pa.array([values[i % len(values)] for i in range(every.num_rows)])
    pa_csv.write_csv(every.set_column(every.column_names.index(column), column, filled), path)


MAILS = [f"person.{number}@mail-{number % 7}.example" for number in range(300)]


def correct(home: Home, *arguments: str) -> dict[str, Any]:
    code, out, error = home.cli("classification", "correct", *arguments, "--by", "data steward", "--json")
    assert code == 0, error
    said: dict[str, Any] = json.loads(out)
    return said


def explained(home: Home, dataset: str, *arguments: str) -> dict[str, Any]:
    code, out, error = home.cli("classification", "explain", dataset, *arguments, "--json")
    assert code == 0, error
    return {column["column"]: column for column in json.loads(out)["columns"]}


def test_what_masks_stopped_and_what_flows_on(released: Home) -> None:
    columns = explained(released, CUSTOMERS)
    [stop] = columns["email"]["stopped"]
    assert columns["email"]["classifications"] == []
    assert columns["email"]["sensitivity"] == "public"
    assert (stop["classification"], stop["at"]["by"], stop["at"]["basis"]) == ("email", "mask", "observed")
    assert stop["rescan"]["values_read"] > 0
    # A truncated postal code is still one: nothing says that the transform masks.
    [region] = columns["postal_region"]["classifications"]
    assert (region["classification"], region["status"], region["path"][0]["masking"]) == (
        "postal_code",
        "derived",
        False,
    )
    # An opaque pseudonym under the name of an identifier stays one: values do not contradict the name.
    [identifier] = columns["customer_pseudonym"]["classifications"]
    assert identifier["classification"] == "customer_id"
    assert [step["by"] for step in identifier["despite"]] == ["pseudonym"]
    [account] = explained(released, "support_prompts")["conversation"]["classifications"]
    assert (account["classification"], account["status"]) == ("account_number", "derived, not verified")
    prompt = explained(released, "support_prompts", "prompt")["prompt"]
    assert {s["classification"] for s in prompt["stopped"] if s["contained"]} >= {"email", "phone"}
    code, out, _ = released.cli("classification", "explain", CUSTOMERS)
    assert code == 0
    assert "stopped: not found again in" in out
    came_from = f"file={stop['at']['from']['dataset']}"
    code, out, _ = released.cli("classification", "explain", came_from)
    assert code == 0
    assert "date_of_birth" in out


def test_the_rescan_stands_in_the_signed_evidence(released: Home) -> None:
    [facet] = released.evidence(Stage.VALIDATE, CUSTOMERS)
    by_column = {column["column"]: column for column in facet["facts"]["rescan"]}
    assert by_column["email"]["found"] == []
    assert by_column["country"]["found"] == ["country"]
    assert set(by_column) == set(released.rows(CUSTOMERS).column_names)


def test_a_raised_sensitivity_stops_the_next_pass(released: Home) -> None:
    # Of the released column: what is in the output was in the source.
    said = correct(released, CUSTOMERS, TIER, "health_condition")
    assert said["from"] == []
    with refused("GOV-107") as faults:
        released.run(CUSTOMERS)
    assert "found health_condition" in str(faults[0])
    facts = released.evidence(Stage.CLASSIFY, CUSTOMERS)[-1]["facts"]
    [column] = [c for c in facts["columns"] if c["column"] == TIER]
    assert column["found"] == "none"
    assert column["classification"] == "health_condition"
    assert column["correction"] == {
        "to": "health_condition",
        "log_index": said["log_index"],
        "contested": False,
    }
    opened = released.evidence(Stage.OPEN, CUSTOMERS)[-1]["facts"]
    assert opened["corrections_position"] > said["log_index"]
    assert [c["status"] for c in explained(released, CUSTOMERS)[TIER]["classifications"]] == ["corrected"]


def test_a_false_finding_is_overruled_for_the_source_and_only_there(home: Home) -> None:
    source = f"file={home.source(CUSTOMERS)}"
    with_values(home.source(CUSTOMERS), TIER, MAILS)
    with refused("GOV-107"):
        home.run(CUSTOMERS)
    # What was masked in the output still stands in the source: of the released column it lowers nothing.
    code, _, error = home.cli("classification", "correct", CUSTOMERS, TIER, "none", "--by", "steward")
    assert code == 1
    assert "GOV-118" in error
    code, _, error = home.cli("classification", "correct", source, TIER, "none", "--by", "steward")
    assert code == 1
    assert "needs a reason" in error
    pattern = source.removesuffix("customers.csv") + "cust*"
    said = correct(home, pattern, TIER, "none", "--because", "technical aliases of shops, no mailboxes")
    assert [found["classification"] for found in said["from"]] == ["email"]
    facts = home.run(CUSTOMERS).facts[Stage.CLASSIFY]
    [column] = [c for c in facts["columns"] if c["column"] == TIER]
    assert (column["found"], column["classification"]) == ("email", "none")
    assert column["correction"]["contested"] is False
    answer = explained(home, source, TIER)[TIER]
    assert answer["correction"]["contested_by"] is None
    assert answer["classifications"] == []
    assert answer["overruled"] == []
    code, out, _ = home.cli("classification", "list", source)
    assert code == 0
    assert "technical aliases" in out
    correct(home, pattern, TIER, "--withdraw", "--because", "the shops are people")
    with refused("GOV-107"):
        home.run(CUSTOMERS)


def test_a_surer_detector_contests_and_the_policy_decides(home: Home) -> None:
    home.run(CUSTOMERS)
    source = f"file={home.source(CUSTOMERS)}"
    correct(home, source, TIER, "none", "--because", "ranks of a programme")
    with_values(home.source(CUSTOMERS), TIER, MAILS)
    with refused("GOV-119", free_of=(MAILS[0],)) as faults:
        home.run(CUSTOMERS)
    assert "corrected to none" in str(faults[0])
    facts = home.evidence(Stage.CLASSIFY, CUSTOMERS)[-1]["facts"]
    [column] = [c for c in facts["columns"] if c["column"] == TIER]
    assert column["correction"]["contested"] is True
    assert explained(home, source, TIER)[TIER]["correction"]["contested_by"] is not None
    _, out, _ = home.cli("classification", "explain", source, TIER)
    assert "contested: a later scan" in out
    # It is that sure because it is right: the contract's `none` with the values in clear would follow.
    edited(home.path / "policy.yaml", lambda text: text + "\ncorrectionsContested: report\n")
    facts = home.run(CUSTOMERS).facts[Stage.CLASSIFY]
    [column] = [c for c in facts["columns"] if c["column"] == TIER]
    assert column["correction"]["contested"] is True


def test_words_that_hold_personal_data_are_refused(released: Home) -> None:
    for because in ("only jane.doe@mail.example is in it", "x" * 301, "two\nlines"):
        code, _, error = released.cli(
            *("classification", "correct", CUSTOMERS, TIER, "none", "--by", "steward", "--because", because)
        )
        assert code == 1
        assert "GOV-118" in error
        assert because not in error
    for wrong in ([TIER, "emial"], ["tier", "none"]):
        code, _, error = released.cli(
            *("classification", "correct", CUSTOMERS, *wrong, "--by", "steward", "--because", "so")
        )
        assert code == 1
        assert "GOV-118" in error
    code, _, _ = released.cli("classification", "correct", CUSTOMERS, TIER, "--by", "steward")
    assert code == 2


def test_where_corrections_stand_is_remembered_and_what_they_say_is_not(released: Home) -> None:
    said = correct(released, CUSTOMERS, TIER, "health_condition")
    workspace = released.workspace()
    size = workspace.log.size()
    [found] = corrections_before(workspace, size)
    assert (found.index, found.by, found.principal) == (said["log_index"], "data steward", "admin:cli")
    assert corrections_before(workspace, said["log_index"]) == []
    memory = released.path / MEMORY
    assert json.loads(memory.read_bytes())["size"] == size
    for wrong in (b"", b"[]", b"{}", b'{"origin": "another", "size": 9999, "indexes": [0]}'):
        memory.write_bytes(wrong)
        assert [each.index for each in corrections_before(workspace, size)] == [said["log_index"]]
    second = correct(released, CUSTOMERS, TIER, "city", "--because", "quarters of the town")
    assert len(corrections_before(workspace, workspace.log.size())) == 2
    workspace.log.redact(second["log_index"], ground="a name stood in it", authoriser="admin:cli")
    assert [each.to for each in corrections_before(workspace, workspace.log.size())] == ["health_condition"]
