"""The shipped workflows in the real front end, in a headless browser: they open, run and show their video."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import FACE_ANCHOR, FACE_WORKFLOW, WORKFLOW, Edit
from .server import PACK, ROOT, HostServer

_STATE = """() => {
  const nodes = app.graph.nodes, known = LiteGraph.registered_node_types;
  const muted = 2;
  const absent = w => w.type === 'combo' && Array.isArray(w.options?.values)
    && !w.options.values.includes(w.value);
  return {
    count: nodes.length,
    missing: nodes.filter(n => !(n.type in known)).map(n => n.type),
    red: nodes.filter(n => n.has_errors).map(n => n.type),
    dialogs: [...document.querySelectorAll('.p-dialog')].map(d => d.innerText),
    values: nodes.filter(n => n.mode !== muted).flatMap(n =>
      (n.widgets || []).filter(absent).map(w => n.type + '.' + w.name)),
  };
}"""
_ERRORS: list[str] = []
"""What the page has written to its console."""
_OFFLINE = ("net::ERR", "Failed to load resource", "Content Security Policy")
"""The front end's own: it asks for the models of its first workflow, and nothing outside can be reached."""
SPEECH, MOCAP, DRIVING = (
    ROOT / "workflows" / f"{name}_to_anchor.json" for name in ("speech", "mocap", "driving_video")
)
TRAIN = ROOT / "workflows" / "train_anchor.json"
_OVERLAPS = """() => {
  const title = 30;
  const boxes = app.graph.nodes.map(n => (
    {type: n.type, x: n.pos[0], y: n.pos[1] - title, w: n.size[0], h: n.size[1] + title}));
  const meet = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => meet(a, b)).map(b => [a.type, b.type]));
}"""


@pytest.fixture(scope="module")
def page(host: HostServer, faced: Edit) -> Iterator[Any]:
    """The front end, loaded. `faced` has put its anchor where the lists are read from."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium is installed, the front end was not tried")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.on("console", lambda line: _ERRORS.append(line.text) if line.type == "error" else None)
        page.route(
            "**/*", lambda route: route.continue_() if host.url in route.request.url else route.abort()
        )
        host.post("/settings/Comfy.TutorialCompleted", True)  # a returning user: no template browser on top
        page.goto(host.url, wait_until="domcontentloaded")
        page.wait_for_function("() => window.app?.graph && document.querySelector('canvas#graph-canvas')")
        page.wait_for_function("() => Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 50")
        page.wait_for_timeout(1500)
        yield page
        browser.close()


def _open(page: Any, host: HostServer, workflow: Path) -> None:
    """Load a workflow as the template browser would."""
    template = host.get(f"/api/workflow_templates/{PACK}/{workflow.stem}.json")
    page.evaluate("async (flow) => { await app.loadGraphData(flow, true, true, null); }", template)
    page.wait_for_timeout(1500)


def _set(page: Any, values: dict[str, Any]) -> None:
    """Set widgets, as {"node type.widget": value}."""
    page.evaluate(
        """values => { for (const [place, value] of Object.entries(values)) {
             const [type, name] = place.split('.');
             for (const node of app.graph.nodes.filter(n => n.type === type))
               node.widgets.find(w => w.name === name).value = value; } }""",
        values,
    )


def _run(page: Any) -> list[str]:
    """Press run, wait for the end; the events that came."""
    page.evaluate(
        """() => { if (window.seen === undefined) {
             for (const t of ['execution_success', 'execution_error', 'b_preview', 'b_preview_with_metadata'])
               app.api.addEventListener(t, e => window.seen.push(t)); }
           window.seen = []; }"""
    )
    page.evaluate("async () => { await app.queuePrompt(0, 1); }")
    page.wait_for_function("() => window.seen.some(t => t.startsWith('execution_'))", timeout=240_000)
    page.wait_for_timeout(2000)
    seen: list[str] = page.evaluate("() => window.seen")
    return seen


def _photograph(page: Any, host: HostServer, workflow: Path) -> Path:
    """A picture of the graph, in out/host."""
    picture = ROOT / "out" / "host" / f"{host.checkout.name}_{workflow.stem}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    page.evaluate("async () => { await app.extensionManager.command.execute('Comfy.Canvas.FitView'); }")
    page.wait_for_timeout(1000)
    page.screenshot(path=str(picture))
    return picture


@pytest.mark.parametrize(
    ("workflow", "count"),
    [(WORKFLOW, 12), (FACE_WORKFLOW, 15), (SPEECH, 17), (MOCAP, 18), (DRIVING, 17), (TRAIN, 21)],
    ids=["body", "face", "speech", "mocap", "driving", "train"],
)
def test_a_workflow_opens_without_a_complaint(
    page: Any, host: HostServer, workflow: Path, count: int
) -> None:
    _ERRORS.clear()
    _open(page, host, workflow)
    state = page.evaluate(_STATE)
    assert state == {"count": count, "missing": [], "red": [], "dialogs": [], "values": []}
    assert page.evaluate(_OVERLAPS) == []
    assert [line for line in _ERRORS if not any(cause in line for cause in _OFFLINE)] == []


@pytest.mark.parametrize("workflow", [WORKFLOW, FACE_WORKFLOW, SPEECH], ids=["body", "face", "speech"])
def test_run_shows_the_video_on_the_node(page: Any, host: HostServer, workflow: Path) -> None:
    _open(page, host, workflow)
    _set(page, {"LoadSMPLXMotion.n_frames": 18, "OverlappedTemporalSampler.steps": 2})
    if workflow in (FACE_WORKFLOW, SPEECH):
        _set(page, {"LoadAnchorSGDM.anchor": FACE_ANCHOR})
    seen = _run(page)
    picture = _photograph(page, host, workflow)
    assert seen[-1] == "execution_success", seen
    assert any(event.startswith("b_preview") for event in seen), "no preview was shown while sampling"
    assert page.evaluate("() => document.querySelectorAll('video').length") > 0, (
        f"no video on the page, see {picture}"
    )


def test_values_of_a_saved_workflow_stay_in_their_places(page: Any, host: HostServer) -> None:
    """The workflow of the body was saved before its nodes got further inputs."""
    _open(page, host, WORKFLOW)
    values = page.evaluate(
        """() => Object.fromEntries(app.graph.nodes.map(
             n => [n.type, Object.fromEntries((n.widgets || []).map(w => [w.name, w.value]))]))"""
    )
    assert values["AppearanceCLIPEncode"]["stage"] == "body"
    assert values["OverlappedTemporalSampler"]["scheduler"] == "as the anchor says"
    assert values["OverlappedTemporalSampler"]["fidelity"] == "auto"
