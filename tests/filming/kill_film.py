"""Films a scene in processes that are killed at random moments, and compares the bytes with a whole run.

Run as a program of its own: it forks, which only a process without threads may do. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
N_FRAMES = 10  # more than one group of frames that are decoded at once


def main(folder: Path, n_kills: int, seed: int) -> dict[str, Any]:
    """Files of the whole run and of the killed one, and how far the latter was at each kill."""
    film = prepared()
    began = time.monotonic()
    assert in_child(lambda: film(folder / "whole.mp4")) is None
    lasts_s = time.monotonic() - began
    moments, killed = random.Random(seed), []
    out = folder / "killed.mp4"
    while len(killed) < n_kills:
        if in_child(lambda: film(out), moments.uniform(0, 0.6 * lasts_s)) is None:
            for path in (out, out.with_suffix(".png")):
                path.unlink()  # it was finished before: again
        else:
            killed.append(sorted(path.name for path in folder.glob("killed.render/*.*")))
        assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert in_child(lambda: film(out)) is None
    same = [
        (folder / f"whole{end}").read_bytes() == (folder / f"killed{end}").read_bytes()
        for end in (".mp4", ".png")
    ]
    return {"same": same, "kills": killed, "left": sorted(path.name for path in folder.iterdir())}


def prepared() -> Callable[[Path], Any]:
    """film(path), with everything loaded that a render does not keep."""
    sys.path.insert(0, str(ROOT))
    tests = ModuleType("tests")
    tests.__path__ = [str(ROOT / "tests")]  # others install packages of this name
    sys.modules["tests"] = tests
    import torch

    from anchor_core.filming.folder import FileKeeper
    from tests.filming import scenes  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    FileKeeper.seconds = 0.0  # state also after every window
    anchor = scenes.tiny_anchor()
    motion = scenes.turning(scenes.demo_motion(anchor, N_FRAMES), away=N_FRAMES - 2)
    scene = scenes.scene_of(anchor, motion)
    return lambda out: scenes.shot(out, anchor, scene, steps=3)


def in_child(work: Callable[[], Any], kill_after_s: float | None = None) -> int | None:
    """Do it in a process, which is killed after that time: None where it was done before."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "a render failed"
    return status if os.WIFSIGNALED(status) else None


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
