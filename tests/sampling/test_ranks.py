"""Processes that make one clip together: sums, shares, and one sentence when one of them ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.filming.folder import RenderFolder
from anchor_core.sampling import ranks as module
from anchor_core.sampling.ranks import ProcessRanks, local_device, ranks_from_environment, share_of
from anchor_core.sampling.sampler import SamplerSettings, sample_latents
from anchor_core.sampling.schedulers import STABLE_DIFFUSION

from ..processes import free_port

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked from this one")
SETTINGS = SamplerSettings(steps=5, guidance_scale=2.0, window_size=6, overlap=2, scheduler="dpm++2m", seed=1)


class Mixing(torch.nn.Module):
    """Mixes the frames of a window with everything that steers them."""

    latent_channels = 4

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Parameter(torch.linspace(-0.5, 0.5, 16).view(4, 4))

    def embed_pose(self, pose: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pose, 8)

    def forward(self, latents: Any, timestep: Any, appearance: Any, pose: Any, scale: float = 1.0) -> Any:
        mixed = torch.einsum("bfchw,cd->bfdhw", latents, self.mix) + 0.3 * latents.mean(dim=1, keepdim=True)
        felt = pose.mean(dim=2, keepdim=True) * scale + appearance.mean(dim=(1, 2)).view(-1, 1, 1, 1, 1)
        return torch.tanh(mixed + felt) * (1 + timestep / 1000)


def sample(callback: Any = None, **options: Any) -> torch.Tensor:
    """A clip of 23 frames, which 6 windows cover."""
    generator = torch.Generator().manual_seed(5)
    clip, *tokens = (
        torch.rand(shape, generator=generator) for shape in ((23, 16, 24, 3), (1, 2, 8), (1, 2, 8))
    )
    settings = replace(SETTINGS, weighting="pyramid")
    return sample_latents(Mixing(), clip, *tokens, settings, STABLE_DIFFUSION, callback=callback, **options)


def film(what: str, folder: Path, ranks: ProcessRanks) -> None:
    def die(step: int, *_: object) -> None:
        if what == "dies" and ranks.rank == 1 and step == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    keep = None if what == "films" else RenderFolder(folder).keeper("body")
    torch.save(sample(die, ranks=ranks, keep=keep), folder / f"latents_{ranks.rank}.pt")


def known(folder: Path, ranks: ProcessRanks) -> str:
    """What this process knows of the others."""
    total, given = torch.full((3, 2), ranks.rank + 1.0), torch.arange(4.0) * (1 if ranks.main else -1)
    ranks.sum(total)
    ranks.broadcast(given)
    ranks.check_shared(folder)
    own = folder / str(ranks.rank)  # as on a machine with a disk of its own
    own.mkdir()
    try:
        ranks.check_shared(own)
    except AnchorError as error:
        return f"{ranks.rank} {ranks.world} {ranks.main} {total[0, 0]} {given.sum()} {error}"
    return "the folder is not shared"


def live(what: str, folder: Path, variables: dict[str, str]) -> None:
    """The life of one process; its last words stand in a file."""
    torch.set_num_threads(1)
    os.environ.update(variables)
    module._SEEN_AFTER_S = 1.0
    said = folder / f"said_{variables['RANK']}"
    try:
        with ranks_from_environment() as ranks:
            assert ranks is not None
            if what == "waits":
                said.touch()
                time.sleep(60)
            film(what, folder, ranks)
            said.write_text(known(folder, ranks) if what == "films" else "done")
    except AnchorError as error:
        said.write_text(f"error: {error}")


def start(what: str, folder: Path, world: int = 2) -> list[Any]:
    """Processes that film; forked, for they need everything that is imported here."""
    shared = {"WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    context, processes = multiprocessing.get_context("fork"), []
    for rank in range(world):
        variables = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
        processes.append(context.Process(target=live, args=(what, folder, variables)))
        processes[-1].start()
    return processes


def last_words(processes: list[Any], folder: Path) -> list[str]:
    for process in processes:
        process.join(timeout=120)
    files = [folder / f"said_{rank}" for rank in range(len(processes))]
    return [file.read_text() if file.exists() else "" for file in files]


@forks
def test_two_processes_give_the_latents_of_one(tmp_path: Path) -> None:
    main, other = last_words(start("films", tmp_path), tmp_path)
    lost = "1 of 2 processes do not see the files of"
    assert main.startswith(f"0 2 True 3.0 6.0 {lost}")  # 1 + 2, and 0 + 1 + 2 + 3 of the main one
    assert other.startswith(f"1 2 False 3.0 6.0 {lost}")
    assert main.endswith("give one with --state")
    ours, others = (torch.load(tmp_path / f"latents_{rank}.pt") for rank in range(2))
    torch.testing.assert_close(ours, sample(), atol=1e-5, rtol=0)
    assert torch.equal(ours, others)
    assert sorted(os.listdir(tmp_path)) == ["0", "1", "latents_0.pt", "latents_1.pt", "said_0", "said_1"]


@forks
def test_a_process_that_dies_is_noticed_and_the_clip_goes_on(tmp_path: Path) -> None:
    began = time.monotonic()
    processes = start("dies", tmp_path)
    assert last_words(processes, tmp_path)[0] == (
        "error: another process of this render ended during step 3 of 5; run the same command again:"
        " it goes on with what is saved"
    )
    assert [process.exitcode for process in processes] == [0, -signal.SIGKILL]
    assert time.monotonic() - began < 120  # not the hours that a slow one is waited for
    assert RenderFolder(tmp_path).keeper("body").load().step == 2
    assert last_words(start("continues", tmp_path), tmp_path) == ["done", "done"]
    for rank in range(2):
        latents = torch.load(tmp_path / f"latents_{rank}.pt")
        torch.testing.assert_close(latents, sample(), atol=1e-5, rtol=0)


@forks
def test_a_launcher_that_ends_a_process_gets_a_sentence(tmp_path: Path) -> None:
    processes = start("waits", tmp_path)
    for rank in range(2):
        until = time.monotonic() + 60
        while not (tmp_path / f"said_{rank}").exists() and time.monotonic() < until:
            time.sleep(0.05)
    for process in processes:
        process.terminate()
    for said in last_words(processes, tmp_path):
        assert said.startswith("error: the launcher stopped this process")


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with ranks_from_environment() as ranks:
        assert ranks is None
        assert share_of([1, 2, 3], ranks) == [0, 1, 2]
    assert not torch.distributed.is_initialized()


def test_processes_that_do_not_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(AnchorError, match=r"WORLD_SIZE is 2 .* start them with torchrun or accelerate"):
        ranks_from_environment().__enter__()


def test_each_process_has_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert local_device(torch.device("cuda:0")) == torch.device("cuda", 0)  # named: several may share it
    assert local_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(AnchorError, match="process 3 of this machine was started and there are 2 GPUs"):
        local_device(torch.device("cuda"))
    monkeypatch.delenv("LOCAL_RANK")
    assert local_device(torch.device("cuda")) == torch.device("cuda")


class Few:
    """Ranks that are counted only."""

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world


@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_shares_take_all_once_and_are_even(world: int) -> None:
    costs = [256.0] * 24 + [144.0, 16.0]
    shares = [share_of(costs, Few(rank, world)) for rank in range(world)]  # type: ignore[arg-type]
    assert sorted(index for share in shares for index in share) == list(range(len(costs)))
    loads = [sum(costs[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= 256
    assert all(share == sorted(share) for share in shares)
