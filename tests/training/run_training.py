"""Trains the network of a file in processes of its own: several, or one that is killed again and again.

python run_training.py WORK.pt FOLDER [KILLS SEED]: losses go to FOLDER/losses_<rank>.json, weights to
FOLDER/weights_<rank>.pt. With KILLS the training runs in a child that is killed that many times, each at some
moment after its first step, before it may finish.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import diffusers
import torch

from anchor_core.sampling.schedulers import NoiseSchedule
from anchor_core.sgdm.network import build_sgdm
from anchor_core.training.config import SGDMConfig
from anchor_core.training.data import TrainingSet
from anchor_core.training.trainer import train_sgdm


def train(work: Path, folder: Path, started: int | None = None) -> None:
    """Train; the end of each step is said to the pipe `started`."""
    torch.set_num_threads(1)
    given = torch.load(work, weights_only=True)
    sgdm = build_sgdm(given["unet"], given["controlnet"])
    sgdm.load_state_dict(given["weights"])
    schedule = NoiseSchedule(**given["schedule"])
    config = SGDMConfig(**given["config"])
    folder.mkdir(parents=True, exist_ok=True)

    def progress(done: int, total: int, preview: object) -> None:
        if started is not None:
            os.write(started, b".")

    rank = os.environ.get("RANK", "0")
    losses = train_sgdm(sgdm, None, TrainingSet(**given["data"]), schedule, config, folder, progress)
    torch.save(sgdm.state_dict(), folder / f"weights_{rank}.pt")
    (folder / f"losses_{rank}.json").write_text(json.dumps(losses))


def import_lazy_modules() -> None:
    """Import what the core imports when it is needed, which takes most of the time."""
    for name in ("UNet2DConditionModel", "ControlNetModel", "DDIMScheduler"):
        getattr(diffusers, name)


def train_killed(work: Path, folder: Path, kills: int, seed: int) -> None:
    """Forked children: everything is imported once, and torch has not computed anything before the fork."""
    import_lazy_modules()
    moments = random.Random(seed)
    for kill in range(kills + 1):
        said, says = os.pipe()
        child = os.fork()
        if not child:
            train(work, folder, says)
            os._exit(0)
        os.close(says)
        os.read(said, 1)
        if kill < kills:
            time.sleep(moments.uniform(0, 0.2))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(said)
        if kill == kills and status:
            sys.exit(f"the last child ended with {status}")


if __name__ == "__main__":
    paths = Path(sys.argv[1]), Path(sys.argv[2])
    if len(sys.argv) > 3:
        train_killed(*paths, int(sys.argv[3]), int(sys.argv[4]))
    else:
        train(*paths)
