"""Host memory: two clips of latents, and what a multistep solver remembers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CLIP_MIB = 4000 * 4 * 32 * 32 * 4 / 2**20


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of a process")
@pytest.mark.parametrize(("scheduler", "clips"), [("ddim", 2), ("dpm++2m", 3)])
def test_a_long_clip_is_in_memory_no_more_often_than_it_must(scheduler: str, clips: int) -> None:
    script = Path(__file__).with_name("flat_memory.py")
    command = [sys.executable, "-W", "ignore", str(script), "4000", scheduler]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < (clips + 0.5) * CLIP_MIB
