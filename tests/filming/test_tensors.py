"""State files: what goes in comes out, others can read them, damage is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anchor_core.errors import AnchorError
from anchor_core.filming.folder import FileKeeper
from anchor_core.filming.tensors import read_facts, read_tensors, write_tensors
from anchor_core.sampling.state import SampleState

TENSORS = {
    "a": torch.randn(2, 3, 4),
    "none": torch.empty(0, 3),
    "double": torch.randn(5, dtype=torch.float64),
    "count": torch.tensor(7),
    "bytes": torch.arange(9, dtype=torch.uint8).reshape(3, 3).T,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "state.safetensors", TENSORS, {"step": 3})
    return tmp_path / "state.safetensors"


def test_what_goes_in_comes_out(path: Path) -> None:
    found = read_tensors(path)
    assert found is not None
    assert found[0].keys() == TENSORS.keys()
    assert all(torch.equal(found[0][name], tensor) for name, tensor in TENSORS.items())
    assert all(found[0][name].dtype == tensor.dtype for name, tensor in TENSORS.items())
    assert found[1] == read_facts(path) == {"step": 3}


def test_others_read_the_file(path: Path) -> None:
    loaded = load_file(path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in TENSORS.items())


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert read_tensors(tmp_path / "none.safetensors") is None
    assert read_facts(tmp_path / "none.safetensors") is None


@pytest.mark.parametrize("size", [0, 5, 40, -3])
def test_damage_is_said(size: int, path: Path) -> None:
    os.truncate(path, size % path.stat().st_size if size < 0 else size)
    with pytest.raises(AnchorError, match=r"state\.safetensors cannot be read, it is damaged"):
        read_tensors(path)


def test_a_state_of_the_sampler_is_kept_and_given_back(tmp_path: Path) -> None:
    latents, total, previous = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    keeper = FileKeeper(tmp_path / "clip.safetensors")
    assert keeper.load() is None
    assert not keeper.finished(2)
    keeper.save(SampleState(1, 5, latents, total, {"order": 2, "previous": previous}))
    state = keeper.load()
    assert state is not None
    assert (state.step, state.windows_done, state.solver["order"]) == (1, 5, 2)
    assert torch.equal(state.latents, latents)
    assert torch.equal(state.total, total)  # type: ignore[arg-type]
    assert torch.equal(state.solver["previous"], previous)  # type: ignore[arg-type]
    keeper.save(SampleState(2, 0, total))
    state = keeper.load()
    assert state is not None
    assert (state.total, state.solver) == (None, {})
    assert keeper.finished(2)
    assert os.listdir(tmp_path) == ["clip.safetensors"]


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    FileKeeper(tmp_path / "clip.safetensors", writes=False).save(SampleState(1, 0, torch.zeros(1)))
    assert os.listdir(tmp_path) == []
