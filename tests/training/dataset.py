"""A tiny dataset folder with what `prepare` writes: meshes that tell the frame, faces with masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 32
N_HELD_OUT = 2


def write_dataset(folder: Path, n_frames: int = 8, person: str = "ada", perturbed: bool = True) -> Path:
    """The folder, with `n_frames` to train on."""
    generator = np.random.default_rng(n_frames)
    rows = [_write_frame(folder, n, n_frames, generator) for n in range(1, n_frames + N_HELD_OUT + 1)]
    for name, stage in (("manifest", 0), ("face", 1)):
        held_out = "face_held_out" if stage else "held_out"
        for file, part in ((name, rows[:n_frames]), (held_out, rows[n_frames:])):
            lines = [{**row[stage], "person": person} for row in part]
            if not perturbed:
                lines = [{k: v for k, v in line.items() if k != "perturbed"} for line in lines]
            (folder / f"{file}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def _write_frame(
    folder: Path, number: int, n_frames: int, generator: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the pictures of a frame; its lines for body and face."""
    mesh = np.kron(
        generator.integers(0, 256, (4, 4, 3), np.uint8), np.ones((SIZE // 4, SIZE // 4, 1), np.uint8)
    )
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[: SIZE // 2] = 0
    pictures = {"mesh": mesh, "image": 255 - mesh, "mesh_1": np.roll(mesh, 3, 1)}
    pictures |= {"head/mesh": mesh[::-1], "head/image": 255 - mesh[::-1], "head/mask": mask}
    name = f"{number:06d}.png"
    for place, picture in pictures.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / place / name)
    other = f"{number % n_frames + 1:06d}.png"
    body = {"source": f"mesh/{name}", "target": f"image/{name}", "reference": f"image/{other}", "clip": "a"}
    face = {key: f"head/{value}" for key, value in body.items() if key != "clip"}
    return {**body, "perturbed": [f"mesh_1/{name}"]}, {**face, "mask": f"head/mask/{name}", "clip": "a"}


def tables(dataset: Path, out: Path, **train: Any) -> dict[str, Any]:
    """A job on that dataset, with networks that train in a second."""
    settings = {"steps": 3, "batch_size": 2, "learning_rate": 1e-3, "log_every": 1, "device": "cpu", **train}
    return {
        "name": "Ada",
        "out": str(out),
        "data": {"sets": [str(dataset)], "size": SIZE},
        "start": {"networks": "tiny"},
        "train": settings,
        "monitor": {"every": 0, "tensorboard": False},
    }
