"""What importing costs, and what stays out of the project's files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import governance", "import governance.cli", "import governance.airflow"]
)
def test_importing_is_light(statement: str) -> None:
    heavy = {
        "airflow",
        "pandas",
        "great_expectations",
        "pyarrow",
        "duckdb",
        "openlineage",
        "pydantic",
        "jinja2",
    }
    assert loaded_by(statement) & heavy == set()


def test_the_pipeline_loads_neither_pandas_nor_great_expectations() -> None:
    statement = "import governance.pipeline.run, governance.access, governance.audit"
    assert loaded_by(statement) & {"airflow", "pandas", "great_expectations"} == set()


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).exists()]


def test_files_stay_readable_in_one_go() -> None:
    long = {
        p.name: n
        for p in tracked()
        if p.suffix == ".py" and (n := len(p.read_text("utf-8").splitlines())) > 400
    }
    assert long == {}


def test_no_registry_and_no_machine_path() -> None:
    # Joined here, so that this file does not name what it looks for.
    forbidden = re.compile(
        "|".join(["files\\." + "pythonhosted", "/wo" + "rk/main", "pypi\\." + "org", r"\.whl\b"])
    )
    found = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.name}: {m.group()}" for m in forbidden.finditer(text)]
    assert found == []


def test_constraints_pin_by_name_and_version() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[^\s@/]+", line)] == []


def test_every_file_of_the_package_goes_into_the_wheel() -> None:
    """Hatchling takes whole folders, less what git ignores: so nothing that is data may be ignored."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"] == {
        "packages": ["governance"],
        "force-include": {"schemas": "governance/schemas", "dags": "governance/example_dags"},
    }
    assert set(build) == {"targets"}
    ignored = [
        "git",
        "ls-files",
        "--others",
        "--ignored",
        "--exclude-standard",
        "governance",
        "schemas",
        "dags",
    ]
    names = subprocess.run(ignored, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [name for name in names if "__pycache__" not in name] == []
    assert ROOT / "governance" / "py.typed" in tracked()
