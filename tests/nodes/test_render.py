"""Render Anchor Video without a host: names of its files, and when it has to run again."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .stand_in_host import PACK

DIGEST = "0123456789abcdef"


class Cancelled(BaseException):
    """As newer hosts raise it."""


def test_all_stages_hear_of_a_cancel_that_the_host_tells_once(
    nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = sys.modules[f"{PACK}.nodes._host"]
    said: list[int] = []

    class Bar:
        def __init__(self, total: int) -> None:
            self.cancelled = False

        def __call__(self, done: int, total: int, preview: Any = None) -> None:
            if self.cancelled:
                self.cancelled = False
                raise Cancelled
            said.append(done)

    monkeypatch.setattr(host, "FrameProgress", Bar)
    step = host.StageProgress({"drawing": 0.2, "denoising": 0.8})
    with step("drawing", " frames") as drawn, step("denoising", " windows") as denoised:
        drawn(1, 2, None)
        denoised(1, 2, None)
        drawn(2, 2, None)
        assert said == [100, 600, 600]
        step._bar.cancelled = True
        for report in (drawn, denoised, denoised):
            with pytest.raises(Cancelled):
                report(2, 2, None)


@pytest.fixture
def film(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """The node with nothing but its files: film(name) is the video that it hands out."""
    module = sys.modules[f"{PACK}.nodes.render_anchor_video"]
    core = importlib.import_module(f"{PACK}.anchor_core.filming.film")
    made: list[Path] = []

    def written(_scene: Any, _crew: Any, _settings: Any, path: Path, **_others: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")

    def shown(path: Path) -> dict[str, Any]:
        made.append(path)
        return {}

    monkeypatch.setattr(core, "film_digest", lambda *_: DIGEST)
    monkeypatch.setattr(core, "film_to_file", written)
    monkeypatch.setattr(module, "_stages", lambda *_: ["body"])
    for name in ("_settings", "_tokens", "_scene"):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(module._folders, "output_video_ui", shown)
    anchor = SimpleNamespace(card=SimpleNamespace(name="ada"))
    widgets: dict[str, Any] = {"body": "stand-in", "retarget": True, "face": "off", "preset": "default"}

    def run(name: str) -> Path:
        module.RenderAnchorVideo.execute(anchor, None, name, seed=0, steps=0, cfg=-1.0, **widgets)
        return made[-1]

    return run


def test_a_video_that_was_deleted_is_rendered_again_and_another_one_is_not(nodes: Any, film: Any) -> None:
    said = nodes.RenderAnchorVideo.fingerprint_inputs
    before = said(name="talk")
    video = film("talk")
    assert video.name == f"talk_{DIGEST}.mp4"
    assert said(name="talk") == before
    film("talk_2")
    (video.parent / "talk_notes.mp4").write_bytes(b"of somebody else")
    assert said(name="talk") == before
    video.unlink()
    deleted = said(name="talk")
    assert deleted != before
    film("talk")
    assert said(name="talk") == deleted
    assert said(name=None) == ""


def test_every_name_that_is_let_in_can_be_rendered(nodes: Any, film: Any) -> None:
    name = "n" * 100
    assert nodes.RenderAnchorVideo.validate_inputs(name) is True
    assert film(f" {name} ").name == f"{name}_{DIGEST}.mp4"
    assert "at most 100" in nodes.RenderAnchorVideo.validate_inputs(name + "n")
