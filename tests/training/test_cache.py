"""The cache gives what `prepare` in memory gives, is computed once, and goes on where it was stopped."""

from __future__ import annotations

import errno
import shutil

import numpy as np
import pytest
import torch

from anchor_core.errors import AnchorError
from anchor_core.progress import silent_step
from anchor_core.training import cache
from anchor_core.training.cache import Parts, cached_set, fill_rows, open_rows, samples_digest
from anchor_core.training.data import load_pictures, prepare
from anchor_core.training.job import job_from
from anchor_core.training.manifest import read_manifest
from anchor_core.training.start import tiny_anchor

from .dataset import SIZE, tables, write_dataset

FIELDS = ("pose", "mean", "deviation", "reference", "clip", "inpaint", "perturbed")


def of_samples(data, name):
    """One row per sample, as trained on, whatever the order of the references."""
    value = getattr(data, name)
    return value[data.which] if name == "reference" else value


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "ada", n_frames=20)


@pytest.fixture(scope="module")
def parts(folder, tmp_path_factory):
    anchor = tiny_anchor(job_from(tables(folder, tmp_path_factory.mktemp("out") / "a.safetensors")))
    return Parts(anchor.vae, anchor.vision, anchor.null_appearance)


@pytest.mark.parametrize("manifest", ["manifest.jsonl", "face.jsonl"])
@pytest.mark.parametrize("train_vision", [False, True])
def test_equals_what_memory_holds(folder, parts, tmp_path, manifest, train_vision):
    parts = Parts(parts.vae, parts.vision, parts.null, train_vision)
    ours = cached_set(read_manifest(folder / manifest), SIZE, parts, tmp_path)
    wanted = prepare(load_pictures(folder / manifest), parts.vae, parts.vision, train_vision)
    for name in FIELDS:
        value, other = of_samples(ours, name), of_samples(wanted, name)
        assert (value is None) == (other is None), name
        if other is not None:
            torch.testing.assert_close(value, other, msg=name)
    assert ours.null is parts.null


def test_computed_once(folder, parts, tmp_path, monkeypatch):
    samples = read_manifest(folder / "manifest.jsonl")
    first = cached_set(samples, SIZE, parts, tmp_path)
    monkeypatch.setattr(cache, "read_squashed", None)  # a second reading would fail
    again = cached_set(samples, SIZE, parts, tmp_path)
    assert torch.equal(first.mean, again.mean)


def test_mapped_not_loaded(folder, parts, tmp_path):
    rows = cached_set(read_manifest(folder / "manifest.jsonl"), SIZE, parts, tmp_path).pose
    (file,) = tmp_path.glob("*/pose.npy")
    stored = np.lib.format.open_memmap(file, mode="r+")
    stored[3] = 7
    stored.flush()
    assert (rows[3] == 7).all()  # what is on disk is what is read, as no copy was made


def test_the_name_is_the_content(folder, parts, tmp_path):
    samples = read_manifest(folder / "manifest.jsonl")
    elsewhere = tmp_path / "moved"
    shutil.copytree(folder, elsewhere)
    moved = read_manifest(elsewhere / "manifest.jsonl")
    key = cache.cache_key(samples, SIZE, parts)
    assert cache.cache_key(moved, SIZE, parts) == key
    assert cache.cache_key(samples, 2 * SIZE, parts) != key
    assert cache.cache_key(samples[::-1], SIZE, parts) != key
    write_dataset(elsewhere, n_frames=20)  # the same pictures again
    assert samples_digest(read_manifest(elsewhere / "manifest.jsonl")) == samples_digest(samples)
    picture = elsewhere / "mesh" / "000004.png"
    shutil.copy(elsewhere / "mesh" / "000005.png", picture)
    assert samples_digest(read_manifest(elsewhere / "manifest.jsonl")) != samples_digest(samples)


def test_other_networks_are_another_cache(folder, parts):
    samples = read_manifest(folder / "manifest.jsonl")
    key = cache.cache_key(samples, SIZE, parts)
    weight = next(parts.vae.parameters())
    old = weight.detach().clone()
    with torch.no_grad():
        weight[0] += 1
        changed = cache.cache_key(samples, SIZE, parts)
        weight.copy_(old)
    assert changed != key
    assert cache.cache_key(samples, SIZE, parts) == key


class Stopped(Exception):
    pass


def rows_of(entries, log, stop_at=10**9):
    def compute(some):
        if some[0] >= stop_at:
            raise Stopped
        log.append(list(some))
        return np.array(some, np.float32)[:, None] * np.ones(3, np.float32)

    return compute


def test_goes_on_where_it_was_stopped(tmp_path):
    entries, path, log = list(range(150)), tmp_path / "rows.npy", []
    with pytest.raises(Stopped):
        fill_rows(path, entries, rows_of(entries, log, stop_at=96), silent_step, "rows")
    assert not path.exists()
    first = len(log)
    with path.with_suffix(".part").open("ab") as stream:
        stream.write(b"half a row")  # a kill can come inside of a write
    fill_rows(path, entries, rows_of(entries, log), silent_step, "rows")
    assert log[first][0] > 32  # not from the beginning
    assert torch.equal(open_rows(path)[:, 1], torch.arange(150.0))
    np.testing.assert_array_equal(np.load(path)[:, 0], np.arange(150))


def test_a_beginning_that_was_cut_off_is_made_again(tmp_path):
    path = tmp_path / "rows.npy"
    path.with_suffix(".part").write_bytes(b"\x93NUM")
    fill_rows(path, [1, 2], rows_of([1, 2], []), silent_step, "rows")
    assert open_rows(path).tolist() == [[1.0] * 3, [2.0] * 3]


def test_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        AnchorError, match=r"rows\.part cannot be written \(No space left .*what is done is kept"
    ):
        fill_rows(tmp_path / "rows.npy", [1], rows_of([1], []), silent_step, "rows")
    assert not (tmp_path / "rows.npy").exists()


def test_references_keep_their_rows_where_folders_are_renamed(parts, tmp_path):
    """Two people: the names of the folders must not say whose tokens are whose."""
    for name in ("ada", "eve"):
        write_dataset(tmp_path / name, n_frames=4, person=name)
    shutil.copytree(tmp_path / "ada", tmp_path / "zoe")

    def rows(*folders):
        samples = [s for f in folders for s in read_manifest(tmp_path / f / "manifest.jsonl")]
        found = cached_set(samples, SIZE, parts, tmp_path / "cache")
        return found.reference[found.which]

    assert torch.equal(rows("ada", "eve"), rows("zoe", "eve"))


def test_processes_that_only_read_need_a_shared_folder(folder, parts, tmp_path):
    samples = read_manifest(folder / "manifest.jsonl")
    with pytest.raises(AnchorError, match=r"this one does not see it; all machines need the same folder"):
        cached_set(samples, SIZE, parts, tmp_path, fill=False)
    assert not list(tmp_path.iterdir())
    cached_set(samples, SIZE, parts, tmp_path)
    assert len(cached_set(samples, SIZE, parts, tmp_path, fill=False).pose) == len(samples)
