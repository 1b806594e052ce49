"""Two processes that share a clip are measured beside one."""

from __future__ import annotations

from anchor_core.evaluation.speed.scaling import COLUMNS, measure_scaling
from anchor_core.evaluation.tables import table


def test_two_processes_make_the_clip_of_one_with_half_the_windows() -> None:
    one, two = measure_scaling(frames=28, steps=1, repeats=1)
    assert (one.name, two.name) == ("1 process", "2 processes")
    assert (one.windows, two.windows) == (2, 1)
    assert (one.by_cpu, one.by_wall, one.difference) == (1, 1, 0)
    assert 0 <= two.difference < 10  # millionths
    assert table([one, two], COLUMNS).count("\n") == 3
