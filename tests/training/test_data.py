"""Perturbed meshes on their way from the manifest into the training set."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from anchor_core.errors import AnchorError
from anchor_core.training.data import join_sets, load_pictures


def write_manifest(folder, perturbed_size=(8, 8)):
    """Three lines; perturbation k of frame n has the value 10 n + k."""
    lines = []
    for frame in range(3):
        names = []
        for k in range(2):
            names.append(f"mesh{frame}_{k}.png")
            Image.new("RGB", perturbed_size, (10 * frame + k,) * 3).save(folder / names[-1])
        Image.new("RGB", (8, 8), (100 + frame,) * 3).save(folder / f"frame{frame}.png")
        name = f"frame{frame}.png"
        lines.append({"source": name, "target": name, "reference": "frame0.png", "perturbed": names})
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_perturbed_meshes_stay_with_their_frames(tmp_path):
    pictures = load_pictures(write_manifest(tmp_path))
    assert pictures.perturbed.shape == (3, 2, 8, 8, 3)
    assert pictures.perturbed[:, :, 0, 0, 0].tolist() == [[0, 1], [10, 11], [20, 21]]


def test_perturbed_meshes_of_another_size(tmp_path):
    with pytest.raises(AnchorError, match=r"the perturbed meshes of .* have 12x8 pixels and the targets 8x8"):
        load_pictures(write_manifest(tmp_path, (12, 8)))


def test_joined_sets_keep_perturbed_meshes(training_set):
    part = replace(training_set, perturbed=torch.stack([training_set.pose] * 2, dim=1))
    other = replace(part, perturbed=255 - part.perturbed)
    assert np.array_equal(join_sets([part, other]).perturbed, torch.cat([part.perturbed, other.perturbed]))
    with pytest.raises(AnchorError, match="training sets have 0 and 2 perturbed meshes per frame"):
        join_sets([part, training_set])
