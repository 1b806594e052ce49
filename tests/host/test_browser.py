"""The shipped workflow in the real front end, in a headless browser: it opens, runs and shows its video."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import WORKFLOW
from .server import PACK, ROOT, HostServer

_STATE = """() => {
  const nodes = app.graph.nodes, known = LiteGraph.registered_node_types;
  const absent = w => w.type === 'combo' && Array.isArray(w.options?.values)
    && !w.options.values.includes(w.value);
  return {
    count: nodes.length,
    missing: nodes.filter(n => !(n.type in known)).map(n => n.type),
    red: nodes.filter(n => n.has_errors).map(n => n.type),
    dialogs: [...document.querySelectorAll('.p-dialog')].map(d => d.innerText),
    values: nodes.flatMap(n => (n.widgets || []).filter(absent).map(w => n.type + '.' + w.name)),
  };
}"""
_OVERLAPS = """() => {
  const title = 30;
  const boxes = app.graph.nodes.map(n => (
    {type: n.type, x: n.pos[0], y: n.pos[1] - title, w: n.size[0], h: n.size[1] + title}));
  const meet = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => meet(a, b)).map(b => [a.type, b.type]));
}"""


@pytest.fixture(scope="module")
def page(host: HostServer) -> Iterator[Any]:
    """The front end, loaded, with the workflow as the template browser would open it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium is installed, the front end was not tried")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.route(
            "**/*", lambda route: route.continue_() if host.url in route.request.url else route.abort()
        )
        host.post("/settings/Comfy.TutorialCompleted", True)  # a returning user: no template browser on top
        page.goto(host.url, wait_until="domcontentloaded")
        page.wait_for_function("() => window.app?.graph && document.querySelector('canvas#graph-canvas')")
        page.wait_for_function("() => Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 50")
        page.wait_for_timeout(1500)
        template = host.get(f"/api/workflow_templates/{PACK}/{WORKFLOW.stem}.json")
        page.evaluate("async (flow) => { await app.loadGraphData(flow, true, true, null); }", template)
        page.wait_for_timeout(1500)
        yield page
        browser.close()


def test_the_workflow_opens_without_a_complaint(page: Any) -> None:
    state = page.evaluate(_STATE)
    assert state == {"count": 12, "missing": [], "red": [], "dialogs": [], "values": []}
    assert page.evaluate(_OVERLAPS) == []


def test_run_shows_the_video_on_the_node(
    page: Any, host: HostServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    page.evaluate(
        """() => { window.seen = []; const set = (type, name, value) =>
             { app.graph.nodes.find(n => n.type === type).widgets.find(w => w.name === name).value = value; };
           set('LoadSMPLXMotion', 'n_frames', 18); set('OverlappedTemporalSampler', 'steps', 2);
           for (const t of ['execution_success', 'execution_error', 'b_preview', 'b_preview_with_metadata'])
             app.api.addEventListener(t, e => window.seen.push(t)); }"""
    )
    page.evaluate("async () => { await app.queuePrompt(0, 1); }")
    page.wait_for_function("() => window.seen.some(t => t.startsWith('execution_'))", timeout=240_000)
    page.wait_for_timeout(2000)
    picture = ROOT / "out" / "host" / f"{host.checkout.name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    page.evaluate("async () => { await app.extensionManager.command.execute('Comfy.Canvas.FitView'); }")
    page.wait_for_timeout(1000)
    page.screenshot(path=str(picture))
    seen = page.evaluate("() => window.seen")
    assert seen[-1] == "execution_success", seen
    assert any(event.startswith("b_preview") for event in seen), "no preview was shown while sampling"
    assert page.evaluate("() => document.querySelectorAll('video').length") > 0, (
        f"no video on the page, see {picture}"
    )
