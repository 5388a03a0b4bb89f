from pathlib import Path

from governance.lineage.facets import EVIDENCE_FACETS, GovernanceClassificationsDatasetFacet
from governance.lineage.naming import CLASSIFICATIONS_KEY, facet_key

DOCS = Path(__file__).resolve().parents[3] / "docs" / "facets.md"


def test_every_facet_is_documented_with_its_key() -> None:
    rows = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `governance_")]
    assert {tuple(c.strip(" `") for c in row.split("|")[1:3]) for row in rows} == {
        *((facet_key(stage), facet.__name__) for stage, facet in EVIDENCE_FACETS.items()),
        (CLASSIFICATIONS_KEY, GovernanceClassificationsDatasetFacet.__name__),
    }
