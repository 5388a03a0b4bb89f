"""README, docs and --help say what the code does. ``GOVERNANCE_REGENERATE=1`` rewrites the generated parts."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from governance.cli import COMMANDS, cli
from governance.config import VARIABLES
from governance.errors import CODES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def written(path: Path, expected: str) -> str:
    """The file's text, after rewriting it when asked to."""
    if os.environ.get("GOVERNANCE_REGENERATE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(expected, "utf-8")
    return path.read_text("utf-8")


def test_error_codes_page() -> None:
    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in CODES.items())
    page = (
        "# Error codes\n\n"
        "Every refusal carries one of these codes; a code never changes its meaning. The message says what and where,\n"
        "without a value from a dataset; the line after `→` says what to do.\n\n"
        f"| code | meaning |\n|---|---|\n{rows}\n"
    )
    assert written(ROOT / "docs" / "errors.md", page) == page


def test_every_code_is_raised_somewhere() -> None:
    code = "\n".join(
        p.read_text("utf-8") for p in (ROOT / "governance").rglob("*.py") if p.name != "errors.py"
    )
    assert [c for c in CODES if f'"{c}"' not in code] == []


def test_settings_table() -> None:
    path = ROOT / "docs" / "operating.md"
    text = path.read_text("utf-8")
    head, _, rest = text.partition("| variable | meaning |\n|---|---|\n")
    after = rest[rest.index("\n\n") :]
    rows = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items())
    page = f"{head}| variable | meaning |\n|---|---|\n{rows}{after}"
    assert written(path, page) == page


def every_command() -> list[list[str]]:
    found = [[]]
    for name in sorted(COMMANDS):
        found.append([name])
        command = cli.get_command(None, name)
        found += [[name, sub] for sub in sorted(getattr(command, "commands", {}))]
    return found


def test_help_of_every_command() -> None:
    pages = []
    for words in every_command():
        result = CliRunner().invoke(cli, [*words, "--help"], prog_name="governance", terminal_width=100)
        assert result.exit_code == 0, words
        pages.append(f"$ governance {' '.join([*words, '--help'])}\n\n{result.output}")
    page = "\n\n".join(pages)
    assert written(ROOT / "tests" / "golden" / "help.txt", page) == page


def test_readme_contract_is_the_minimal_example() -> None:
    shown = re.search(r"<!-- (\S+) -->\n```yaml\n(.*?)```", README, re.S)
    assert shown and shown.group(2) == (ROOT / shown.group(1)).read_text("utf-8")
    assert len(yaml.safe_load(shown.group(2))["schema"]) == 1
    assert len(shown.group(2).splitlines()) <= 11


def test_readme_dag_is_short() -> None:
    shown = re.search(r"<!-- a DAG file -->\n```python\n(.*?)```", README, re.S)
    assert shown
    ast.parse(shown.group(1))
    assert len([line for line in shown.group(1).splitlines() if line.strip()]) <= 10


def test_readme_commands_exist() -> None:
    shown = re.search(r"```console\n(.*?)```", README, re.S)
    assert shown
    for line in shown.group(1).splitlines():
        words = line.removeprefix("$ governance ").split()
        command = cli.get_command(None, words[0])
        assert command is not None, line
        sub = (
            getattr(command, "commands", {}).get(words[1]) if getattr(command, "commands", None) else command
        )
        assert sub is not None, line
        options = {o for p in sub.params for o in p.opts}
        assert {w for w in words if w.startswith("--")} <= options, line


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_readme_names_every_room() -> None:
    rooms = {p.name for p in (ROOT / "governance").iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    named = set(re.findall(r"\(governance/(\w+)\)", README))
    assert rooms - named == {"model"}


def test_make_help_lists_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*?## ", makefile, re.M))
    assert {"demo", "test", "up", "down", "check", "bench", "bench-full", "constraints", "help"} <= targets
    assert set(re.findall(r"`make ([a-z-]+)`", README)) <= targets
