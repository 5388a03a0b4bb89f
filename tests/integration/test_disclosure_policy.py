"""What leaves, and where to: the policy's columns and destinations, checked before anything is read.

The bucket is moto's server over the wire: no real S3 can run here.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa
from before_and_after import CUSTOMERS
from governed_home import Home, refused

from governance.access import Disclosure, disclose, open_disclosure
from governance.access.exits import STATEMENT
from governance.model.evidence import Stage
from governance.pipeline.local import local_recorder

ALLOWED = ["customer_pseudonym", "country"]


def narrowed(home: Home, *, dataset: str = CUSTOMERS) -> Home:
    policy = home.path / "policy.yaml"
    told = "    publicKeyFile: northlake-research.pub\n"
    more = f"    columns: {{{dataset}: [{', '.join(ALLOWED)}]}}\n    destinations: [s3://northlake-inbox/training]\n"
    text = policy.read_text()
    assert told in text
    policy.write_text(text.replace(told, told + more))
    return home


def disclosed(home: Home, **where: Any) -> Disclosure:
    workspace = home.workspace()
    return disclose(
        workspace,
        local_recorder(workspace, CUSTOMERS, "d"),
        dataset=CUSTOMERS,
        recipient="northlake-research",
        purpose="model_training",
        description="Profiles, to train with",
        **where,
    )


def test_into_a_bucket_with_no_more_than_is_necessary(released: Home, tmp_path: Path, bucket: Any) -> None:
    done = disclosed(narrowed(released), destination="s3://northlake-inbox/training")
    assert done.facts["columns"] == [c for c in ALLOWED if c in done.facts["columns"]]
    listed = bucket.list_objects_v2(Bucket="northlake-inbox")["Contents"]
    prefix = f"training/{done.facts['disclosure_id']}/"
    assert {row["Key"].removeprefix(prefix) for row in listed} >= {STATEMENT}
    assert all(row["Key"].startswith(prefix) for row in listed)
    fetched = tmp_path / "fetched"
    (fetched / "data").mkdir(parents=True)
    for row in listed:
        bucket.download_file("northlake-inbox", row["Key"], str(fetched / row["Key"].removeprefix(prefix)))
    key = base64.b64decode((released.path / "secrets" / "northlake-research.key").read_text())
    rows = pa.Table.from_batches(open_disclosure(fetched, key))
    assert rows.num_rows == done.facts["rows"] > 0
    assert set(rows.column_names) == set(ALLOWED)
    assert not list(released.path.rglob("*.partial"))
    assert len(released.evidence(Stage.DISCLOSE, CUSTOMERS)) == 1


def test_what_the_policy_does_not_name_is_refused_before_anything_is_read_or_recorded(
    released: Home, tmp_path: Path
) -> None:
    narrowed(released)
    before = released.workspace().log.size()
    places = ("s3://northlake-inbox/other", "s3://northlake-inbox/training-2", "s3://northlake-inbox",
              "s3://northlake-inbox/training/../x", "file:///tmp/x", "s3://elsewhere/training")  # fmt: skip
    for place in places:
        with refused("GOV-602"):
            disclosed(released, destination=place)
    columns = [c["name"] for c in released.manifest(CUSTOMERS).body["schema"] if c["name"] not in ALLOWED]
    with refused("GOV-602"):
        disclosed(released, directory=tmp_path / "out", columns=["country", columns[0]])
    code, _, err = released.cli(
        "disclose", CUSTOMERS, "--to", "northlake-research", "--purpose", "model_training", "--description", "d",
        "--out", "s3://northlake-inbox/other",
    )  # fmt: skip
    assert (code, "GOV-602" in err) == (1, True)
    assert released.workspace().log.size() == before
    assert not (tmp_path / "out").exists()
    assert not (released.path / "disclosures").exists()


def test_a_dataset_that_the_recipient_may_not_have(released: Home, tmp_path: Path) -> None:
    narrowed(released, dataset="clinical_encounters")
    with refused("GOV-602"):
        disclosed(released, directory=tmp_path / "out")


def test_a_bucket_that_takes_nothing_leaves_a_record_and_no_statement(released: Home, bucket: Any) -> None:
    narrowed(released)
    policy = released.path / "policy.yaml"
    policy.write_text(policy.read_text().replace("s3://northlake-inbox/training", "s3://no-such-bucket/x"))
    with refused("GOV-724"):
        disclosed(released, destination="s3://no-such-bucket/x")
    assert len(released.evidence(Stage.DISCLOSE, CUSTOMERS)) == 1
    assert not list(released.path.rglob("*.partial"))
