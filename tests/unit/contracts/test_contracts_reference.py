"""The documentation says what the schemas and the code say."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest

from governance.contracts import load_contract
from governance.contracts.reference import tables
from governance.contracts.structure import EXTENSION, POLICY
from governance.model.resources import schemas

PAGE = Path(__file__).parents[3] / "docs" / "contracts.md"


@pytest.mark.parametrize("name", [EXTENSION, POLICY])
def test_the_reference_is_the_schema(name: str) -> None:
    text = PAGE.read_text("utf-8")
    found = re.search(rf"<!-- from {re.escape(name)} -->\n(.*?)<!-- end -->", text, re.S)
    assert found is not None
    if os.environ.get("GOVERNANCE_REGENERATE"):
        PAGE.write_text(
            text[: found.start(1)] + f"\n{tables(name).strip()}\n\n" + text[found.end(1) :], "utf-8"
        )
        return
    assert found[1].strip() == tables(name).strip()


@pytest.mark.parametrize("name", [EXTENSION, POLICY])
def test_the_schemas_are_valid_and_every_property_is_described(name: str) -> None:
    root = json.loads((schemas() / name).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(root)
    for part in (root, *root["$defs"].values()):
        assert part["description"]
        for property_ in part.get("properties", {}).values():
            assert "$ref" in property_ or property_["description"]
            for example in property_.get("examples", ()):
                jsonschema.Draft202012Validator({**property_, "$defs": root["$defs"]}).validate(example)


def test_the_contract_on_the_page_is_the_example(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(apiVersion.*?)```", PAGE.read_text("utf-8"), re.S)
    assert block is not None
    assert block[1] == (schemas() / "examples" / "minimal.odcs.yaml").read_text("utf-8")
    path = tmp_path / "c.yaml"
    path.write_text(block[1], "utf-8")
    assert load_contract(path).dataset == "newsletter_readers"
