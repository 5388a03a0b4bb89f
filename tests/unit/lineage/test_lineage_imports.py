import subprocess
import sys

import pytest


def loaded(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_whoever_verifies_loads_neither_client_nor_engine() -> None:
    assert not loaded("from governance.lineage import verify_evidence") & {
        "openlineage.client",
        "duckdb",
        "pyarrow",
        "airflow",
    }


@pytest.mark.parametrize("name", ["OpenLineageRecorder", "Index"])
def test_what_is_heavy_loads_when_asked_for(name: str) -> None:
    modules = loaded(f"from governance.lineage import {name}")
    assert "airflow" not in modules
    assert "pandas" not in modules


def test_unknown_names_are_unknown() -> None:
    import governance.lineage

    with pytest.raises(AttributeError):
        governance.lineage.made_up  # noqa: B018
