"""What is kept of a cancelled run, and who finds it again."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from .stand_in_host import PACK


def _module(name: str) -> Any:
    return importlib.import_module(f"{PACK}.{name}")


@pytest.fixture
def anchor(nodes: Any) -> Any:
    card = _module("anchor_core.anchor.card").AnchorCard("ada")
    parts, patcher = SimpleNamespace(card=card), SimpleNamespace(load_device=torch.device("cpu"))
    kind, body = _module("nodes._anchor").LoadedAnchor, torch.nn.Linear(1, 1)
    return kind(parts, body, patcher, torch.float32, None, True, (0.0, 1.0))


@pytest.fixture
def folder(base: Path) -> Path:
    return base / "output" / "anchor_renders" / "unfinished"


def _kept(anchor: Any, fill: float = 0.0, **settings: Any) -> Any:
    conditioning = _module("anchor_core.sampling.conditioning").Conditioning(
        torch.full((4, 16, 16, 3), fill), torch.zeros(1, 5, 8)
    )
    made = _module("anchor_core.sampling.settings").SamplerSettings(**settings)
    return _module("nodes._resume").kept(anchor, "body", made, conditioning, "auto")


def _cancelled(anchor: Any, step: int, **given: Any) -> None:
    state = _module("anchor_core.sampling.state").SampleState(step, 0, torch.full((4, 4, 2, 2), float(step)))

    class Cancelled(Exception):
        pass

    with pytest.raises(Cancelled), _kept(anchor, **given) as keep:
        keep.save(state)
        raise Cancelled


def _found(anchor: Any, **given: Any) -> int | None:
    """The step that the same run would begin with, or None; leaves the state there."""
    with pytest.raises(KeyError), _kept(anchor, **given) as keep:
        state = keep.load()
        raise KeyError
    return None if state is None else int(state.step)


def test_a_cancelled_run_is_found_by_the_same_and_by_nothing_else(anchor: Any) -> None:
    _cancelled(anchor, 3, seed=1)
    assert _found(anchor, seed=1) == 3
    assert _found(anchor, seed=2) is None
    assert _found(anchor, seed=1, fill=0.5) is None
    for other in ({"dtype": torch.float16}, {"body": torch.nn.Linear(1, 1).half()}):
        assert _found(replace(anchor, **other), seed=1) is None


def test_a_finished_run_leaves_nothing(anchor: Any, folder: Path) -> None:
    before = set(folder.glob("*"))
    with _kept(anchor, seed=11) as keep:
        keep.save(_module("anchor_core.sampling.state").SampleState(1, 0, torch.zeros(4, 4, 2, 2)))
        assert set(folder.glob("*")) > before
    assert set(folder.glob("*")) == before


def test_only_the_newest_are_kept(anchor: Any, folder: Path) -> None:
    for seed in range(20, 32):
        _cancelled(anchor, 1, seed=seed)
        for age, file in enumerate(sorted(folder.glob("*"), key=lambda file: -file.stat().st_mtime)):
            os.utime(file, (1e9 - age, 1e9 - age))
    assert len(list(folder.glob("*.safetensors"))) == 8
    assert _found(anchor, seed=31) == 1
    assert _found(anchor, seed=20) is None


def test_a_damaged_state_begins_again_and_says_so(
    anchor: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(folder.glob("*"))
    _cancelled(anchor, 2, seed=40)
    (file,) = set(folder.glob("*")) - before
    file.write_bytes(file.read_bytes()[:40])
    assert _found(anchor, seed=40) is None
    assert "it begins again" in caplog.text


def test_a_full_disk_does_not_stop_what_goes_on_without_a_state(
    anchor: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise _module("anchor_core.errors").AnchorError("the disk is full: free space.")

    monkeypatch.setattr(_module("anchor_core.filming.folder"), "write_tensors", full)
    with _kept(anchor, seed=50) as keep:
        for step in (1, 2):
            keep.save(_module("anchor_core.sampling.state").SampleState(step, 0, torch.zeros(4, 4, 2, 2)))
    assert caplog.text.count("the disk is full") == 1
