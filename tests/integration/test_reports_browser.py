"""Reports in a real browser: from the list to one made, read in its sandbox, saved, compared and verified; dark and light."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from governed_home import Home
from served_process import Server, make_token

from governance.audit import verify_bundle
from governance.model.evidence import Stage

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
SHOTS = os.environ.get("GOVERNANCE_SCREENSHOTS")
"""A folder: every page that is passed is kept there as a picture."""


@pytest.fixture(scope="module")
def home(released_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.copied(released_once, tmp_path_factory.mktemp("reported") / "home")


@pytest.fixture(scope="module")
def server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    token = make_token(home.settings.store, "read", "audit")
    served = Server(
        home.settings.store, tmp_path_factory.mktemp("server"), token=token, home=home.settings.environment()
    )
    yield served
    served.close()


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, server: Server) -> Iterator[Any]:
    """A signed-in page. No console error, no failed request and no other host are left unsaid."""
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        context = browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        faults: list[str] = []
        page.on(
            "console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on(
            "request", lambda asked: None if asked.url.startswith(server.url) else faults.append(asked.url)
        )
        page.goto(f"{server.url}/pages/sign-in?next=reports")
        page.fill("#token", server.token)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{server.url}/pages/reports")
        page.scheme = request.param
        yield page
        browser.close()
    assert faults == []


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}-{page.scheme}.png", full_page=True)


def test_from_the_list_to_the_verdict(page: Any, home: Home, server: Server, tmp_path: Path) -> None:
    shot(page, "1-list")
    page.get_by_role("link", name="Make: Breach assessment").click()
    assert page.locator("h1").inner_text() == "Breach assessment"
    page.get_by_label("Dataset, by its name").fill("customer_profiles")
    page.get_by_label("For whom").select_option("auditor")
    page.get_by_label("CSV").check()
    page.get_by_label("Why you make it").fill("drill of the incident team")
    shot(page, "2-make")
    page.get_by_role("button", name="Make it").click()
    page.wait_for_url("**/pages/reports/*")
    frame = page.frame_locator("iframe.report")
    assert frame.locator("h1").inner_text() == "Breach assessment"
    assert "An outside auditor" in frame.locator("table.control").inner_text()
    shot(page, "3-report")
    frame.locator("a.ref").first.click()
    sync_api.expect(frame.locator("tr:target")).to_be_in_viewport()
    shot(page, "3-report-entry")
    with page.expect_download() as csv:
        page.get_by_role("link", name="csv", exact=True).click()
    assert csv.value.suggested_filename.startswith("breach-auditor-")
    page.get_by_label("Why you take it").fill("to verify it")
    with page.expect_download() as download:
        page.get_by_role("button", name="Bundle (zip)").click()
    bundle = tmp_path / download.value.suggested_filename
    download.value.save_as(bundle)
    assert verify_bundle(bundle, home.workspace().vkey).ok

    page.get_by_role("link", name="Reports", exact=True).first.click()
    page.get_by_label("Bundle (ZIP)").set_input_files(bundle)
    page.get_by_role("button", name="Verify").click()
    assert page.locator("h1").inner_text() == "Verified, self-attested"
    shot(page, "4-verdict")
    altered = tmp_path / "altered.zip"
    altered.write_bytes(bundle.read_bytes().replace(b"customer_profiles", b"customer_profile5"))
    page.goto(f"{server.url}/pages/reports")
    page.get_by_label("Bundle (ZIP)").set_input_files(altered)
    page.get_by_role("button", name="Verify").click()
    assert page.locator("h1").inner_text().startswith("Not verified")
    assert "bytes are not those that were packed" in page.get_by_role("alert").inner_text()
    shot(page, "5-not-verified")

    page.goto(f"{server.url}/pages/reports/new?kind=breach")
    page.get_by_label("Dataset, by its name").fill("support_prompts")
    page.get_by_label("Why you make it").fill("another")
    page.get_by_role("button", name="Make it").click()
    page.wait_for_url("**/pages/reports/*")
    page.get_by_role("button", name="Compare").click()
    assert "The log grew by" in page.locator("main").inner_text()
    shot(page, "6-changes")
    page.goto(f"{server.url}/pages/")
    assert page.get_by_role("cell", name="Breach assessment").count() >= 2
    shot(page, "7-overview")
    run_id = home.evidence(Stage.OPEN, "customer_profiles")[0]["context"]["run_id"]
    for name, path in (
        ("8-run", f"airflow/customer_profiles/{run_id}"),
        ("9-dataset", "dataset?namespace=gov&name=customer_profiles"),
    ):
        page.goto(f"{server.url}/pages/{path}")
        assert page.get_by_role("cell", name="Breach assessment").count() >= 1, name
        shot(page, name)
