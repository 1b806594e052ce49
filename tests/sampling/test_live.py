"""Bytes that are alive."""

from __future__ import annotations

import torch

from anchor_core.sampling.live import LiveBytes


def test_what_is_gone_does_not_count_and_views_count_once() -> None:
    with LiveBytes() as live:
        first = torch.zeros(1000)
        view = first.view(10, 100)[2]
        assert (live.now, live.most) == (4000, 4000)
        second = first + 1
        assert live.now == 8000
        del first
        assert live.now == 8000  # the view holds it
        del view
        second = second.half()
    assert (live.now, live.most) == (2000, 8000)
    assert second.nbytes == 2000


def test_a_device_without_numbers_counts_alike() -> None:
    with torch.device("meta"), LiveBytes() as live:
        values = torch.zeros(500)
        values.mul_(2)
        values = values.exp().cos()
    assert (live.now, live.most) == (2000, 6000)  # the first, its exp and the cos of that


def test_what_was_there_before_is_not_counted_until_an_operation_returns_it() -> None:
    before = torch.zeros(100)
    with LiveBytes() as live:
        total = before.sum()
    assert live.most == total.nbytes
