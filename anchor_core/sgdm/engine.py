"""How a network is computed: attention kernels, memory layout, compilation; equal up to rounding.

What a machine lacks is left out: a kernel that does not take a head size, number type or device leaves that
layer to torch's own choice, and a network that cannot be compiled runs as it is. The log says so once.
ComfyUI brings an engine of its own (`SGDM.set_attention`, weights that move): do not tune a network there.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import AnchorError, is_out_of_memory
from . import walk
from .attention import AttentionFunction, window_attention

if TYPE_CHECKING:
    from .network import SGDM

AttentionKernel = Literal["auto", "sdpa", "flash", "cudnn", "sage", "xformers"]
ATTENTION_KERNELS: tuple[str, ...] = get_args(AttentionKernel)

_PACKAGES = {"sage": "sageattention", "xformers": "xformers"}
_SAGE_CHANNELS = 128  # the widest head that SageAttention takes (thu-ml/SageAttention#119)
_HALF = (torch.float16, torch.bfloat16)
_log = logging.getLogger("anchor")


@dataclass(frozen=True)
class Engine:
    """How a network is computed.

    attention: "auto" is torch's choice, on Hopper GPUs FlashAttention 3 where it is installed, else cuDNN;
    "sdpa" torch's choice everywhere; "flash", "cudnn", "xformers" that kernel first; "sage" 8-bit keys and
    queries (SageAttention 2): an approximation, never chosen by "auto".
    channels_last: convolution weights in the layout that tensor cores read.
    compile: torch.compile; the first window of each length takes minutes, so it is for long clips.
    Raises AnchorError for a kernel whose package is not installed.
    """

    attention: str = "auto"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if self.attention not in ATTENTION_KERNELS:
            raise AnchorError(f"attention is {self.attention!r}: choose {', '.join(ATTENTION_KERNELS)}.")
        package = _PACKAGES.get(self.attention)
        if package is not None and importlib.util.find_spec(package) is None:
            raise AnchorError(
                f"attention is '{self.attention}' and the package {package} is not installed: pip install "
                f"{package}, or choose auto."
            )


def tune(sgdm: SGDM, engine: Engine) -> SGDM:
    """Compute `sgdm` by `engine` from now on, in place; returns it. Move it to its device before."""
    sgdm.set_attention(attention_function(engine.attention, next(sgdm.parameters()).device))
    _lay_out(sgdm, torch.channels_last if engine.channels_last else torch.contiguous_format)
    passes = walk.PLAIN
    if engine.compile:
        passes = walk.Passes(Compiled(walk.PLAIN.control), Compiled(walk.PLAIN.denoise))
    sgdm.passes = passes
    return sgdm


@torch.no_grad()
def _lay_out(sgdm: SGDM, layout: torch.memory_format) -> None:
    for weight in sgdm.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=layout)


def attention_function(name: str, device: torch.device) -> AttentionFunction:
    """The attention of an engine for networks on `device`."""
    if name == "sage":
        return GuardedKernel(name, _sage)
    if name == "xformers":
        return GuardedKernel(name, _xformers)
    order = _kernel_order(name, device)
    return GuardedKernel(name, _Ordered(order)) if order else window_attention


def _kernel_order(name: str, device: torch.device) -> tuple[str, ...]:
    """torch's kernels in the order to try them in; empty for torch's own order."""
    if device.type != "cuda" or name == "sdpa":
        return ()
    hopper = torch.cuda.get_device_capability(device)[0] == 9
    if name == "auto" and not hopper:
        return ()  # cuDNN is slower than FlashAttention 2 elsewhere (huggingface/transformers#48163)
    flash, cudnn = "FLASH_ATTENTION", "CUDNN_ATTENTION"
    newest = name in ("auto", "flash") and hopper and _flash_3()
    first = (flash, cudnn) if name == "flash" or newest else (cudnn, flash)
    return (*first, "EFFICIENT_ATTENTION", "MATH")


def _flash_3() -> bool:
    """Let torch use FlashAttention 3, for the whole process; False where it is not installed."""
    try:
        from torch.nn.attention import activate_flash_attention_impl

        activate_flash_attention_impl("FA3")
    except (ImportError, ValueError, RuntimeError):
        return False
    return True


class _Ordered:
    """torch's attention by the first of the named kernels that takes the tensors."""

    def __init__(self, order: tuple[str, ...]) -> None:
        from torch.nn.attention import SDPBackend

        self._order = [getattr(SDPBackend, name) for name in order if hasattr(SDPBackend, name)]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        from torch.nn.attention import sdpa_kernel

        with sdpa_kernel(self._order, set_priority=True):
            return functional.scaled_dot_product_attention(query, key, value)


def _sage(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    sageattn = importlib.import_module("sageattention").sageattn
    if query.shape[-1] > _SAGE_CHANNELS or query.dtype not in _HALF:
        return window_attention(query, key, value)
    return sageattn(query.contiguous(), key.contiguous(), value.contiguous(), tensor_layout="HND")


def _xformers(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    attend = importlib.import_module("xformers.ops").memory_efficient_attention
    heads_last = (part.transpose(1, 2) for part in (query, key, value))  # B tokens heads c
    return attend(*heads_last).transpose(1, 2)


class GuardedKernel:
    """A kernel for GPUs; torch's own attention elsewhere, and for head sizes and types that it refuses."""

    def __init__(self, name: str, kernel: AttentionFunction) -> None:
        self._name, self._kernel = name, kernel
        self._refused: set[tuple[int, torch.dtype]] = set()

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        kind = (query.shape[-1], query.dtype)
        if not _on_gpu(query) or kind in self._refused:
            return window_attention(query, key, value)
        try:
            return self._kernel(query, key, value)
        except (RuntimeError, ValueError, TypeError, AssertionError, ImportError) as problem:
            if is_out_of_memory(problem):
                raise
            self._refused.add(kind)
            _log.warning(
                "attention '%s' does not take heads of %d in %s, torch's does it: %s",
                self._name,
                *kind,
                _first_line(problem),
            )
            return window_attention(query, key, value)


def _on_gpu(tensor: Tensor) -> bool:
    return tensor.is_cuda


class Compiled:
    """A function that torch compiles at its first call; plain from then on where that fails."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._plain = function
        self._compiled: Callable[..., Any] | None = torch.compile(function, dynamic=False)

    def __call__(self, *args: Any) -> Any:
        if self._compiled is None:
            return self._plain(*args)
        try:
            return self._compiled(*args)
        except Exception as problem:
            if isinstance(problem, AnchorError) or is_out_of_memory(problem):
                raise
            # Also what is no fault of the compiler comes here; then the plain function raises it again.
            result = self._plain(*args)
            self._compiled = None
            _log.warning("the network could not be compiled and runs as it is: %s", _first_line(problem))
            return result


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:200]
