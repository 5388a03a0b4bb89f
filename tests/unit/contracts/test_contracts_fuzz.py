"""Whatever a file holds, it loads or is refused by one of our errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.contracts import load_contract, load_policy
from governance.errors import GovernanceError
from governance.model.policy import Policy
from governance.model.resources import schemas

EXAMPLES = schemas() / "examples"
FILES = sorted(p.name for p in EXAMPLES.glob("*.yaml"))
TEXTS = {name: (EXAMPLES / name).read_text("utf-8") for name in FILES}
SHARDS = (
    "",
    "null",
    "[]",
    "{}",
    "-1",
    "1e9",
    "true",
    "no",
    "~",
    "''",
    "x" * 300,
    "&a",
    "*a",
    "!!set",
    "|",
    "? a",
    "\t",
    ":",
)

edits = st.lists(
    st.tuples(
        st.sampled_from(("drop", "twice", "value", "key", "indent", "swap", "cut")),
        st.integers(0, 10_000),
        st.integers(0, 10_000),
        st.sampled_from(SHARDS),
    ),
    min_size=1,
    max_size=4,
)


def _edited(text: str, changes: list[tuple[str, int, int, str]]) -> str:
    lines = text.split("\n")
    for kind, first, second, shard in changes:
        i, j = first % len(lines), second % len(lines)
        head, colon, _ = lines[i].partition(": ")
        if kind == "drop":
            lines[i] = ""
        elif kind == "twice":
            lines.insert(j, lines[i])
        elif kind == "value":
            lines[i] = head + ": " + shard if colon else shard
        elif kind == "key":
            lines[i] = (
                " " * (len(head) - len(head.lstrip())) + shard + colon + lines[i][len(head) + len(colon) :]
            )
        elif kind == "indent":
            lines[i] = " " * (second % 12) + lines[i].lstrip()
        elif kind == "swap":
            lines[i], lines[j] = lines[j], lines[i]
        else:
            lines[i] = lines[i][: second % (len(lines[i]) + 1)]
    return "\n".join(lines)


def _load(path: Path, policy: Policy) -> None:
    try:
        load_policy(path) if path.name == "policy.yaml" else load_contract(path, policy)
    except GovernanceError as error:
        assert error.code.startswith("GOV-1")
        assert error.__cause__ is None


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=edits)
def test_edited_examples(
    name: str, changes: list[tuple[str, int, int, str]], tmp_path: Path, policy: Policy
) -> None:
    path = tmp_path / name
    path.write_text(_edited(TEXTS[name], changes), "utf-8")
    _load(path, policy)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes, tmp_path: Path, policy: Policy) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(data)
    _load(path, policy)


KEYS = [
    "name",
    "properties",
    "schema",
    "customProperties",
    "property",
    "value",
    "quality",
    "type",
    "engine",
    "implementation",
    "kwargs",
    "governance",
    "subject",
    "column",
    "protection",
    "enum",
    "logicalType",
    "slaProperties",
    "metric",
    "arguments",
    "purposes",
    "recipients",
    "classifications",
    "organisation",
]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=values,
    place=st.sampled_from(["schema", "customProperties", "slaProperties", "description", "team"]),
)
def test_any_structure(value: object, place: str, tmp_path: Path, policy: Policy) -> None:
    text = TEXTS["minimal.odcs.yaml"].replace(
        "status: active", f"status: active\n{place}: {json.dumps(value)}"
    )
    if place in ("schema", "customProperties"):
        head = text.split(f"\n{place}: [{{prop" if place == "customProperties" else "\nschema:\n")[0]
        text = head + f"\n{place}: {json.dumps(value)}\n"
    path = tmp_path / "c.yaml"
    path.write_text(text, "utf-8", errors="surrogatepass")
    _load(path, policy)
    path = tmp_path / "policy.yaml"
    path.write_text(
        json.dumps({"recipients": value, "classifications": value, "organisation": value}), "utf-8"
    )
    _load(path, policy)
