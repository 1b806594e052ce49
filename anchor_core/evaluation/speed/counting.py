"""What a run computes and holds: multiplications, exponentials, most bytes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...sampling.live import LiveBytes

_KERNELS = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)


@dataclass
class Arithmetic:
    """flops: all, a multiplication and an addition are two. attention: those of attention kernels among
    them. exponentials: of their scores; on the newest GPUs these take longer than the multiplications."""

    flops: float = 0.0
    attention: float = 0.0
    exponentials: float = 0.0


@contextmanager
def counted() -> Iterator[Arithmetic]:
    """Count what is computed in the block; the numbers are there when it ends."""
    total = Arithmetic()

    def kernel(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        batch, heads, length, width = query
        scores = batch * heads * length * key[2]
        flops = 2 * scores * (width + value[3])
        total.attention += flops
        total.exponentials += scores
        return int(flops)

    mapping = {getattr(torch.ops.aten, name): kernel for name in _KERNELS if hasattr(torch.ops.aten, name)}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        yield total
    total.flops = counter.get_total_flops()


def peak_of(run: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """What `run` returns, and the most bytes that it held beside what was there before."""
    if device.type != "cuda":
        with LiveBytes() as live:
            result = run()
        return result, float(live.most)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = run()
    torch.cuda.synchronize(device)
    return result, float(torch.cuda.max_memory_allocated(device) - before)
