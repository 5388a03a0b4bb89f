"""The pages in a real browser: signed in, moved by mouse and by keyboard alone, dark, light, framed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_process import Server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")

NS = "warehouse"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SANDBOX = "allow-scripts allow-same-origin allow-forms allow-downloads"
CLASSIFIED = {"columns": {"mail": {"classification": "email", "sensitivity": "restricted"}}}


def event(number: int, inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-24T08:00:00Z",
        "run": {"runId": f"01a20b6a-c323-7f68-b456-{number:012d}"},
        "job": {"namespace": "etl", "name": f"job{number:03d}"},
        "inputs": [{"namespace": NS, "name": name} for name in inputs],
        "outputs": [
            {"namespace": NS, "name": name, "facets": {"governance_classifications": CLASSIFIED}}
            for name in outputs
        ],
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ten datasets in a row, and a fan of 260 jobs with as many outputs behind ``hub``: over 500 nodes."""
    folder = tmp_path_factory.mktemp("pages")
    served = Server(str(folder / "store"), folder)
    row = [event(i, [f"table{i}"], [f"table{i + 1}"]) for i in range(9)]
    fan = [event(100 + i, ["hub" if i < 20 else f"out{i - 20}"], [f"out{i}"]) for i in range(260)]
    with served.client() as client:
        assert client.post("/api/v1/lineage/batch", json=row + fan).status_code == 204
    yield served
    served.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(chromium: Any, server: Server, scheme: str) -> Iterator[Any]:
    """A signed-in page. No console error, no failed request and no other host are left unsaid."""
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("request", lambda asked: None if asked.url.startswith(server.url) else faults.append(asked.url))
    page.goto(f"{server.url}/pages/")
    assert "/sign-in" in page.url
    page.wait_for_function("() => document.activeElement.id === 'token'")
    page.keyboard.type(server.token)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.url}/pages/")
    yield page
    context.close()
    # Chromium warns of the sandbox that Airflow chose, whatever is in the frame.
    assert [fault for fault in faults if "can escape its sandboxing" not in fault] == []


def moved(page: Any) -> list[float]:
    """Translation and scale of the picture, once the next frame was drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    text = page.locator(".all").get_attribute("transform")
    return [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]


def graph(page: Any, server: Server, name: str, depth: int = 2) -> None:
    page.goto(f"{server.url}/pages/graph?node=dataset:{NS}:{name}&depth={depth}")


def test_from_search_to_a_dataset_and_its_graph(page: Any, server: Server, scheme: str) -> None:
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 128) == (scheme == "dark")
    page.get_by_role("searchbox").fill("table5")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="table5").click()
    assert page.locator("h1").inner_text() == "table5"
    assert page.get_by_role("cell", name="restricted").count() == 1
    page.get_by_role("link", name="Lineage graph").click()
    assert page.locator(".node.centred").get_attribute("data-name") == "table5"


def test_the_theme_is_chosen_and_kept(page: Any, server: Server) -> None:
    toggle = page.locator("#theme")
    toggle.click()
    assert page.locator("html").get_attribute("data-theme") == "light"
    toggle.click()
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 29)"


def test_the_picture_moves_and_grows_by_mouse(page: Any, server: Server) -> None:
    graph(page, server, "table5")
    x, y, scale = moved(page)
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 70)
    page.mouse.up()
    assert moved(page) == pytest.approx([x + 60, y + 40, scale], abs=1)
    page.mouse.wheel(0, -400)
    assert moved(page)[2] > scale
    page.get_by_role("button", name="Fit").click()
    assert moved(page) == pytest.approx([x, y, scale], abs=1)
    page.locator('.node[data-name="table5"] a.open').click()
    assert page.locator("#panel h2").inner_text() == "table5"
    assert "restricted" in page.locator("#panel").inner_text()
    before = page.locator(".node").count()
    page.locator(".grow").first.click()
    page.wait_for_function(f"() => document.querySelectorAll('.node').length > {before}")
    assert "expand=" in page.url
    with page.expect_download() as download:
        page.get_by_role("link", name="Download SVG").click()
    drawn = Path(download.value.path()).read_text()
    assert drawn.startswith("<svg") and "<style>" in drawn and "table5" in drawn


def test_the_picture_moves_and_grows_by_keyboard_alone(page: Any, server: Server) -> None:
    graph(page, server, "table5")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "picture":
            break
    else:
        pytest.fail("Tab does not reach the picture")
    x, y, scale = moved(page)
    page.keyboard.press("ArrowRight")
    assert moved(page) == pytest.approx([x - 60, y, scale], abs=1)
    page.keyboard.press("+")
    assert moved(page)[2] == pytest.approx(scale * 1.25, rel=0.01)
    page.keyboard.press("0")
    assert moved(page) == pytest.approx([x, y, scale], abs=1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    selected = page.locator("#panel h2").inner_text()
    assert selected
    for _ in range(10):
        if page.evaluate("() => 'grow' in document.activeElement.closest('.node').dataset"):
            break
        page.keyboard.press("ArrowRight")
    before = page.locator(".node").count()
    page.keyboard.press("e")
    page.wait_for_function(f"() => document.querySelectorAll('.node').length > {before}")
    assert page.evaluate("() => document.activeElement.matches('a.open')")


def test_five_hundred_nodes_move_without_laying_out_anew(
    page: Any, server: Server, record_property: Any
) -> None:
    graph(page, server, "hub", 60)
    assert page.locator(".node").count() == 500
    assert page.locator("#truncated").is_visible()
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.evaluate(
        """() => {
            window.frames_ = []; window.changed_ = 0; let last = performance.now();
            const tick = now => { window.frames_.push(now - last); last = now; requestAnimationFrame(tick); };
            requestAnimationFrame(tick);
            new MutationObserver(all => window.changed_ += all.filter(m => !m.target.matches(".all")).length)
                .observe(document.querySelector("#picture svg"), {attributes: true, childList: true, subtree: true});
        }"""
    )
    page.mouse.down()
    for step in range(60):
        page.mouse.move(box["x"] + 300 + 4 * step, box["y"] + 300 + 2 * step)
    page.mouse.up()
    for _ in range(20):
        page.mouse.wheel(0, -60)
    moved(page)
    assert page.evaluate("() => window.changed_") == 0
    frames = sorted(page.evaluate("() => window.frames_.slice(1)"))
    record_property("frames", len(frames))
    record_property("frame_ms_p50", frames[len(frames) // 2])
    record_property("frame_ms_p95", frames[len(frames) * 95 // 100])
    assert frames


def test_inside_a_sandboxed_frame(page: Any, server: Server) -> None:
    inner = f"/pages/graph?node=dataset:{NS}:table5&depth=2"
    page.route("**/holder", lambda route: route.fulfill(
        content_type="text/html",
        body=f'<!doctype html><link rel="icon" href="/pages/static/icon.svg"><iframe sandbox="{SANDBOX}" width="1000" height="800" src="{inner}"></iframe>',
    ))  # fmt: skip
    page.goto(f"{server.url}/holder")
    frame = page.frame_locator("iframe")
    frame.locator(".node.centred a.open").click()
    assert frame.locator("#panel h2").inner_text() == "table5"
    frame.locator("#theme").click()
    frame.get_by_role("link", name="Datasets").click()
    sync_api.expect(frame.locator("h1")).to_have_text("Datasets")


@pytest.mark.parametrize("scheme", ["light"], indirect=True)
def test_without_javascript_pictures_and_links_work(chromium: Any, server: Server, scheme: str) -> None:
    context = chromium.new_context(
        java_script_enabled=False, extra_http_headers=server.headers, color_scheme=scheme
    )
    page = context.new_page()
    graph(page, server, "table5")
    before = page.locator(".node").count()
    page.locator(".grow").first.click()
    assert page.locator(".node").count() > before
    page.locator('.node[data-name="table5"] a.open').click()
    assert page.locator("h1").inner_text() == "table5"
    context.close()
