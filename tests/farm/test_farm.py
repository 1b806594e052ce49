"""Lists that are filmed: in processes of this machine and on Ray, with workers that are killed meanwhile."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anchor_core.anchor.file import save_anchor
from anchor_core.cli.main import main
from anchor_core.cli.options import DEMO_MOTION

from ..anchor import models

SHORT = {"frames": 6, "steps": 3, "window-size": 4, "overlap": 1, "guidance-scale": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def anchor_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("anchors") / "ada.safetensors"
    save_anchor(models.tiny_anchor(), path)
    return path


@pytest.fixture
def jobs(anchor_file: Path, tmp_path: Path) -> Any:
    """jobs({...}, ...): a list of jobs that each change something of the same one."""

    def write(*changes: dict[str, Any]) -> Path:
        base = {"anchor": str(anchor_file), "motion": str(DEMO_MOTION), **SHORT}
        path = tmp_path / "jobs.jsonl"
        path.write_text("".join(json.dumps({**base, **change}) + "\n" for change in changes))
        return path

    return write


def render_many(path: Path, *options: object) -> int:
    return main(["render-many", str(path), *(str(option) for option in options)])


def results(path: Path) -> list[dict[str, Any]]:
    lines = path.with_name("jobs.results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[Any]:
    """killer(out, of=pids): kills a process once, when the denoising of OUT has begun to be kept."""
    threads = []

    def watch(out: str, processes: Any) -> None:
        state, until = tmp_path / f"{out}.render" / "body_latents.safetensors", time.monotonic() + 300
        while time.monotonic() < until and not state.exists():
            time.sleep(0.002)
        for pid in processes():
            os.kill(pid, signal.SIGKILL)

    def start(out: str, processes: Any) -> None:
        threads.append(threading.Thread(target=watch, args=(out, processes), daemon=True))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(timeout=300)


def own_children() -> list[int]:
    return [process.pid for process in multiprocessing.active_children() if process.pid]


def below(word: str) -> list[int]:
    """Processes below this one with a word in their command line."""
    psutil = pytest.importorskip("psutil", reason="finds the process of a Ray worker")
    found = psutil.Process().children(recursive=True)
    return [process.pid for process in found if word in " ".join(process.cmdline())]


def test_others_go_on_where_one_fails(jobs: Any, tmp_path: Path, capsys: Any) -> None:
    path = jobs({"out": "a.mp4"}, {"out": "b.mp4", "start": 99999}, {"out": "c.mp4", "seed": 4})
    assert render_many(path) == 1
    said = capsys.readouterr()
    assert "a.mp4 (line 1): started" in said.out
    assert "b.mp4 (line 2): 2 of 3, failed: --start 99999 lies outside the motion's" in said.out
    assert "error: 1 of 3 jobs failed, see above" in said.err
    assert "MainProcess" not in said.err
    assert [(line["line"], line["frames"], line["tries"]) for line in results(path)] == [
        (1, 6, 1),
        (2, 0, 1),
        (3, 6, 1),
    ]
    assert len({line["place"] for line in results(path)}) == 1  # a failed job leaves its worker alive
    made = (tmp_path / "a.mp4").stat().st_mtime_ns
    jobs({"out": "a.mp4"}, {"out": "b.mp4"}, {"out": "c.mp4", "seed": 5})
    assert render_many(path) == 0
    said = capsys.readouterr()
    assert "1 of 3 jobs are finished already" in said.out  # the seed of the third is another one
    assert [line["line"] for line in results(path)[3:]] == [2, 3]
    assert (tmp_path / "a.mp4").stat().st_mtime_ns == made
    (tmp_path / "a.mp4").unlink()
    assert render_many(path) == 0
    assert [line["line"] for line in results(path)[5:]] == [1]


def test_a_killed_worker_is_replaced_and_the_job_goes_on(
    jobs: Any, killer: Any, tmp_path: Path, capsys: Any
) -> None:
    path = jobs({"out": "whole.mp4", "steps": 30}, {"out": "a.mp4", "steps": 30, "keep-state": True})
    killer("a", own_children)
    assert render_many(path) == 0
    said = capsys.readouterr().out
    assert "a.mp4 (line 2): its worker died (SIGKILL); it goes on with another one" in said
    assert "a.mp4 (line 2): started, try 2" in said
    assert [line["tries"] for line in results(path)] == [1, 2]
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_job_that_kills_its_workers_is_given_up(jobs: Any, killer: Any, capsys: Any) -> None:
    path = jobs({"out": "a.mp4", "steps": 30})
    killer("a", own_children)
    assert render_many(path, "--retries", 0) == 1
    assert (
        "its worker died in each of 1 tries, lastly with SIGKILL; look for what ends it"
        in capsys.readouterr().out
    )
    assert results(path)[0]["error"].startswith("its worker died")


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_ray_cluster_survives_a_killed_worker(jobs: Any, killer: Any, tmp_path: Path, capfd: Any) -> None:
    steps = {"steps": 30}
    path = jobs({"out": "a.mp4", **steps}, {"out": "b.mp4", **steps}, {"out": "bad.mp4", "start": 99999})
    killer("a", lambda: below("ray::Worker")[:1])
    assert render_many(path, "--ray", "local", "--workers", 2) == 1
    said = capfd.readouterr()
    assert "its worker died (ActorDiedError); it goes on with another one" in said.out
    assert "bad.mp4 (line 3): " in said.out
    assert "failed: --start 99999" in said.out
    assert sorted(line["tries"] for line in results(path)) == [1, 1, 2]
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert "Traceback" not in said.err


def test_ray_that_is_missing(jobs: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert render_many(jobs({"out": "a.mp4"}), "--ray", "local") == 1
    assert "pip install 'anchor-avatar-studio[farm]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", 0], "--workers is 0; need 1 or more"),
        (["--retries", -1], "--retries is -1; need 0 or more"),
        (["--gpus-per-worker", 1.5], "--gpus-per-worker is 1.5; need a part of one, or a whole number"),
        (["--gpus-per-worker", 1], "this machine has 0 GPUs and each worker is to get 1"),
    ],
)
def test_numbers_that_make_no_team(
    options: list[object], message: str, jobs: Any, monkeypatch: Any, capsys: Any
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert render_many(jobs({"out": "a.mp4"}), *options) == 1
    assert message in capsys.readouterr().err
