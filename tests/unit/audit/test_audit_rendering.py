"""The page: self-contained, accessible, safe whatever the names are, and a function of the record alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from audit_story import column, released
from audit_world import World

from governance.audit import MadeReport, make_report, verify_bundle
from governance.audit.rendering import render
from governance.model.evidence import Stage

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"


class Page(HTMLParser):
    """Collects tags; ``open`` must be empty at the end."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(params=["art30", "accounting"])
def made(request: pytest.FixtureRequest) -> MadeReport:
    report: MadeReport = request.getfixturevalue(request.param)
    return report


def test_it_asks_nobody_for_anything(made: MadeReport) -> None:
    text = made.html.read_text("utf-8")
    page = Page(text)
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "object", "form", "base", "svg"} & {
        t for t, _ in page.tags
    }
    for _, attributes in page.tags:
        assert not {"src", "srcset", "onload", "onclick", "style", "action"} & attributes.keys()
    assert all(a["href"] and a["href"].startswith("#") for a in page.named("a"))
    assert "url(" not in text and "@import" not in text
    [policy] = [m for m in page.named("meta") if m.get("http-equiv")]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_it_can_be_read_by_everybody(made: MadeReport) -> None:
    text = made.html.read_text("utf-8")
    page = Page(text)
    assert page.named("html") == [{"lang": "en"}]
    assert len(page.named("h1")) == len(page.named("main")) == len(page.named("header")) == 1
    assert text.count("<table") == text.count("<caption")
    assert all("scope" in attributes for attributes in page.named("th"))
    levels = [int(t[1]) for t, _ in page.tags if re.fullmatch("h[1-6]", t)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.named("a") if a["href"]} <= set(ids)
    labelled = [a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a]
    assert set(labelled) <= set(ids)


def test_the_first_page_leads_with_what_an_officer_looks_for(made: MadeReport) -> None:
    text = made.html.read_text("utf-8")
    order = [
        "Scope",
        "Period",
        "As of",
        "Self-attested",
        ">Exceptions<",
        ">Unknowns<",
        'id="h-rows"',
        "Population",
    ]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    for basis in ("declared", "observed", "conflicting", "unknown"):
        assert f'<span class="basis {basis}">{basis}</span>' in text
    root = made.record["as_of"]["root"]
    assert root in text and set(made.record["statements"]) <= set(Page(text).text)
    for entry in made.record["entries"]:
        assert entry["leaf_hash"] in text


def test_colours_have_contrast() -> None:
    from governance.audit import rendering

    css = (Path(rendering.__file__).parent / "templates" / "report.css").read_text("utf-8")
    for rule in re.findall(r"\.basis\.\w+ \{([^}]+)\}", css):
        ink = re.search(r"(?<!-)color: (#\w+)", rule)
        paper = re.search(r"background: (#\w+)", rule)
        assert ink and paper and _contrast(ink[1], paper[1]) >= 4.5, rule
    for name in ("ink", "quiet", "accent"):
        found = re.search(rf"--{name}: (#\w+)", css)
        assert found and _contrast(found[1], "#fff") >= 4.5, name


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    world = World(tmp_path)
    policy = world.policy(
        lambda text: text.replace("name: Meridian Health System, Inc.", f"name: {json.dumps(ATTACK)}")
    )
    contract = world.contract("clinical_encounters")
    run = world.open(ATTACK, "model_training", policy=policy, contract=contract, run_id="r1")
    seen = column(ATTACK, "email", ATTACK, ATTACK, contains=[ATTACK])
    released(run, [(seen, ATTACK)])
    world.disclose(
        run,
        1,
        ATTACK,
        {"applies": True, "ground": ATTACK},
        description=ATTACK,
        columns=[ATTACK],
        recipient={"name": ATTACK, "title": ATTACK, "address": ATTACK, "country": ATTACK},
        disclosed_at=ATTACK,
    )
    run.failed(Stage.VALIDATE, "GOV-402", ATTACK)
    for kind in ("gdpr-art30", "hipaa-528"):
        made = make_report(world, kind, tmp_path / "out", bundle=True)
        text = made.html.read_text("utf-8")
        page = Page(text)
        assert page.open == [] and not page.named("script") and not page.named("img")
        assert "<script" not in text and "&lt;script&gt;" in text and "{{ 7*7 }}" in text
        assert made.bundle and verify_bundle(made.bundle, world.vkey).ok


def test_the_page_is_a_function_of_the_record(made: MadeReport) -> None:
    record = json.loads(made.json.read_bytes())
    assert render(record).encode() == made.html.read_bytes()
    backwards = dict(reversed(record.items()))
    assert render(backwards).encode() == made.html.read_bytes()


WITHOUT_JINJA = """
import sys
sys.modules["jinja2"] = None
from pathlib import Path
from governance.audit import verify_bundle
verdict = verify_bundle(Path(sys.argv[1]), sys.argv[2])
print(verdict.ok, any("reports extra is not installed" in line for line in verdict.lines))
heavy = {"duckdb", "pyarrow", "pandas", "openlineage", "sqlite3", "numpy", "airflow"} & set(sys.modules)
print(sorted(heavy))
"""


def test_verifying_needs_no_template_engine_and_loads_nothing_heavy(world: World, art30: MadeReport) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_JINJA, str(art30.bundle), world.vkey],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["True True", "[]"]


def test_making_without_the_template_engine_says_what_to_install(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance.audit import rendering
    from governance.errors import SettingError

    rendering.template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(SettingError) as refused:
        make_report(world, "hipaa-528", tmp_path / "out")
    assert refused.value.code == "GOV-902" and "airflow-governance[reports]" in refused.value.remedy
    assert not (tmp_path / "out").exists()
