"""`generate` in several processes: the video of one, one voice, and going on after one of them was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from anchor_core.cli.main import main
from anchor_core.cli.options import DEMO_MOTION
from anchor_core.filming import stages
from anchor_core.filming.folder import RenderFolder

from ..processes import environment, free_port

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")
SHORT = ["--frames", "7", "--steps", "3", "--window-size", "4", "--overlap", "1", "--device", "cpu"]
SHORT += ["--guidance-scale", "1"]


def live(argv: list[str], said: Path, variables: dict[str, str], dies: bool) -> None:
    """One process of a launcher; dies: by its own hand, while it makes the second step."""
    torch.set_num_threads(1)
    os.environ.update(variables)
    for stream in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    if dies:
        stages.count_windows = lambda _bar: _die  # type: ignore[assignment]
    status = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _die(step: int, *_: object) -> None:
    if step == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def launch(argv: list[str], folder: Path, dying: int | None = None) -> list[tuple[int, str]]:
    """Exit status and words of each of two processes. dying: the one that is killed."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    context, processes = multiprocessing.get_context("fork"), []
    for rank in range(2):
        said, variables = folder / f"said_{rank}", {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        said.write_text("")
        processes.append(context.Process(target=live, args=(argv, said, variables, rank == dying)))
        processes[-1].start()
    for process in processes:
        process.join(timeout=300)
    return [(p.exitcode, (folder / f"said_{rank}").read_text()) for rank, p in enumerate(processes)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all videos."""
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def arguments(face_anchor_file: Path, made: Path) -> Any:
    """arguments(name, ...): of a `generate` into NAME.mp4 that keeps its state."""

    def make(name: str, *more: str) -> list[str]:
        files = ["--anchor", str(face_anchor_file), "--motion", str(DEMO_MOTION)]
        return ["generate", *files, "--out", str(made / f"{name}.mp4"), "--keep-state", *SHORT, *more]

    return make


@pytest.fixture(scope="module")
def one(arguments: Any, made: Path) -> None:
    """one.mp4, by one process."""
    assert main(arguments("one")) == 0


@pytest.fixture(scope="module")
def two(arguments: Any, made: Path) -> list[tuple[int, str]]:
    """two.mp4, by two; how they ended."""
    return launch(arguments("two"), made)


def latents(folder: Path, name: str, stage: str = "body") -> torch.Tensor:
    state = RenderFolder(folder / f"{name}.render").keeper(f"{stage}_latents").load()
    assert state is not None
    return state.latents


@forks
def test_two_processes_make_the_video_of_one(one: None, two: list[tuple[int, str]], made: Path) -> None:
    (status, said), (other_status, other_said) = two
    assert (status, other_status) == (0, 0)
    assert "two.mp4: 7 frames at 25 fps" in said
    assert "denoising" in said
    assert other_said == ""
    for stage in ("body", "face"):
        ours, wanted = (latents(made, name, stage) for name in ("two", "one"))
        torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)


@forks
def test_after_a_kill_the_same_command_goes_on(arguments: Any, two: Any, made: Path) -> None:
    killed = arguments("killed")
    (status, said), (other_status, _) = launch(killed, made, dying=1)
    assert (status, other_status) == (1, -signal.SIGKILL)
    assert said.strip().endswith(
        "error: another process of this render ended during step 2 of 3; run the same command again: it goes"
        " on with what is saved"
    )
    drawn = (made / "killed.render" / "mesh.frames").stat().st_mtime_ns
    assert [status for status, _ in launch(killed, made)] == [0, 0]
    assert (made / "killed.mp4").read_bytes() == (made / "two.mp4").read_bytes()
    assert (made / "killed.render" / "mesh.frames").stat().st_mtime_ns == drawn


@forks
def test_one_process_goes_on_with_what_two_began(arguments: Any, one: None, made: Path) -> None:
    begun = arguments("begun")
    assert launch(begun, made, dying=0)[0][0] == -signal.SIGKILL
    assert main(begun) == 0
    torch.testing.assert_close(latents(made, "begun"), latents(made, "one"), atol=1e-5, rtol=0)


@forks
def test_what_is_wrong_is_said_once(arguments: Any, tmp_path: Path) -> None:
    (status, said), (other_status, other_said) = launch(arguments("bad", "--start", "9999"), tmp_path)
    assert (status, other_status) == (1, 1)
    assert said.count("error: --start 9999 lies outside the motion's") == 1
    assert other_said == ""


def test_torchrun_starts_them(anchor_file: Path, motion_file: Path, tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    files = ["--anchor", str(anchor_file), "--motion", str(motion_file), "--out", str(tmp_path / "a.mp4")]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "anchor_core", "generate", *files, *SHORT],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("a.mp4: 7 frames") == 1
