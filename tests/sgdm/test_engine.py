"""Engines: the same result in every one, and torch's own way where a machine lacks something."""

from __future__ import annotations

import copy
import logging
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from anchor_core.errors import AnchorError
from anchor_core.sgdm import engine as engine_module
from anchor_core.sgdm import walk
from anchor_core.sgdm.attention import window_attention
from anchor_core.sgdm.engine import ATTENTION_KERNELS, Compiled, Engine, GuardedKernel, tune
from anchor_core.sgdm.network import SGDM

MakeSGDM = Callable[..., SGDM]
Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def given(sgdm: SGDM, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(1)
    pose = torch.rand(3, 3, 64, 64, generator=draw).to(dtype)
    return {
        "latents": torch.randn(1, 3, 4, 8, 8, generator=draw).to(dtype),
        "timestep": torch.tensor(500),
        "contexts": torch.randn(2, 5, 24, generator=draw).to(dtype),
        "pose_features": sgdm.embed_pose(pose)[None].detach(),
    }


def heads(channels: int = 8, dtype: torch.dtype = torch.float16) -> Heads:
    query, key, value = (torch.randn(2, 3, 10, channels).to(dtype) for _ in range(3))
    return query, key, value


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor passes for one on a GPU."""
    monkeypatch.setattr(engine_module, "_on_gpu", lambda _tensor: True)


@pytest.mark.parametrize("attention", ["auto", "sdpa", "flash", "cudnn"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_engines_give_the_same_on_a_cpu(make_sgdm: MakeSGDM, attention: str, channels_last: bool) -> None:
    sgdm = make_sgdm("reference").double()
    window = given(sgdm, torch.float64)
    expected = sgdm.guided(**window)
    assert tune(sgdm, Engine(attention, channels_last)) is sgdm
    torch.testing.assert_close(sgdm.guided(**window), expected, rtol=1e-12, atol=1e-12)
    assert sgdm.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    tune(sgdm, Engine())
    assert torch.equal(sgdm.guided(**window), expected)


def test_tuning_back_copies_no_weights(make_sgdm: MakeSGDM) -> None:
    sgdm = make_sgdm()
    before = [weight.data_ptr() for weight in sgdm.parameters()]
    tune(sgdm, Engine())
    assert [weight.data_ptr() for weight in sgdm.parameters()] == before


def test_unknown_kernels_are_refused() -> None:
    with pytest.raises(
        AnchorError, match="attention is 'fast': choose auto, sdpa, flash, cudnn, sage, xformers"
    ):
        Engine("fast")


@pytest.mark.parametrize(("name", "package"), [("sage", "sageattention"), ("xformers", "xformers")])
def test_a_kernel_asked_for_by_name_has_to_be_installed(
    make_sgdm: MakeSGDM, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(
        AnchorError, match=f"'{name}' and the package {package} is not installed: pip install"
    ):
        tune(make_sgdm(), Engine(name))


def test_auto_is_torchs_own_off_the_gpu() -> None:
    for name in ("auto", "sdpa", "flash", "cudnn"):
        assert engine_module.attention_function(name, torch.device("cpu")) is window_attention


@pytest.mark.parametrize(
    ("name", "major", "flash_3", "order"),
    [
        ("auto", 8, True, ()),
        ("auto", 9, False, ("CUDNN_ATTENTION", "FLASH_ATTENTION")),
        ("auto", 9, True, ("FLASH_ATTENTION", "CUDNN_ATTENTION")),
        ("flash", 8, False, ("FLASH_ATTENTION", "CUDNN_ATTENTION")),
        ("cudnn", 8, False, ("CUDNN_ATTENTION", "FLASH_ATTENTION")),
        ("cudnn", 9, True, ("CUDNN_ATTENTION", "FLASH_ATTENTION")),
        ("sdpa", 9, True, ()),
    ],
)
def test_kernels_on_gpus(
    monkeypatch: pytest.MonkeyPatch, name: str, major: int, flash_3: bool, order: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (major, 0))
    monkeypatch.setattr(engine_module, "_flash_3", lambda: flash_3)
    found = engine_module._kernel_order(name, torch.device("cuda"))
    assert found[:2] == order
    assert found[2:] == (("EFFICIENT_ATTENTION", "MATH") if order else ())


@pytest.mark.usefixtures("on_gpu")
def test_ordered_kernels_are_torchs_attention() -> None:
    kernel = GuardedKernel("cudnn", engine_module._Ordered(("CUDNN_ATTENTION", "FLASH_ATTENTION", "MATH")))
    some = heads(dtype=torch.float32)
    torch.testing.assert_close(kernel(*some), functional.scaled_dot_product_attention(*some))


@pytest.fixture
def sage_calls(monkeypatch: pytest.MonkeyPatch, on_gpu: None) -> list[int]:
    """SageAttention that is torch's; the head sizes that it was asked for."""
    asked: list[int] = []

    def sageattn(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tensor_layout: str
    ) -> torch.Tensor:
        assert tensor_layout == "HND"
        asked.append(query.shape[-1])
        return functional.scaled_dot_product_attention(query, key, value)

    package = types.ModuleType("sageattention")
    package.sageattn = sageattn  # type: ignore[attr-defined]
    package.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "sageattention", package)
    return asked


def test_sage_takes_narrow_heads_of_half_precision(sage_calls: list[int]) -> None:
    attend = engine_module.attention_function("sage", torch.device("cuda"))
    for some in (heads(40), heads(80), heads(160), heads(40, torch.float32)):
        torch.testing.assert_close(attend(*some), functional.scaled_dot_product_attention(*some))
    assert sage_calls == [40, 80]


@pytest.mark.usefixtures("on_gpu")
def test_xformers_gets_tokens_before_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    def memory_efficient_attention(*parts: torch.Tensor) -> torch.Tensor:
        swapped = (part.transpose(1, 2) for part in parts)
        return functional.scaled_dot_product_attention(*swapped).transpose(1, 2)

    ops = types.ModuleType("xformers.ops")
    ops.memory_efficient_attention = memory_efficient_attention  # type: ignore[attr-defined]
    package = types.ModuleType("xformers")
    package.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "xformers", package)
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    some = heads()
    attended = engine_module.attention_function("xformers", torch.device("cuda"))(*some)
    torch.testing.assert_close(attended, functional.scaled_dot_product_attention(*some))


@pytest.mark.usefixtures("on_gpu")
def test_a_kernel_that_refuses_is_asked_once_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def picky(query: torch.Tensor, _key: torch.Tensor, _value: torch.Tensor) -> torch.Tensor:
        asked.append(query.shape[-1])
        raise RuntimeError("No kernel for this head size\nand much more")

    kernel = GuardedKernel("picky", picky)
    with caplog.at_level(logging.WARNING, "anchor"):
        for some in (heads(8), heads(8), heads(16)):
            torch.testing.assert_close(kernel(*some), functional.scaled_dot_product_attention(*some))
    assert asked == [8, 16]
    assert [record.getMessage() for record in caplog.records] == [
        f"attention 'picky' does not take heads of {channels} in torch.float16, torch's does it: "
        "No kernel for this head size"
        for channels in (8, 16)
    ]


@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when ..")],
)
def test_a_full_memory_is_no_refusal(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*_: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(torch, "compile", lambda function, **_options: function)
    kernel, compiled = GuardedKernel("full", full), Compiled(full)
    for _ in range(2):
        with pytest.raises(type(error)):
            kernel(*heads())
        with pytest.raises(type(error)):
            compiled(*heads())
    assert compiled._compiled is not None


def test_compiled_networks_give_the_same(make_sgdm: MakeSGDM, monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced and guarded as always, without generating code.
    compiler = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: compiler(function, backend="eager", **options)
    )
    one_level = {"block_out_channels": [16], "down_block_types": ["CrossAttnDownBlock2D"]}
    sgdm = make_sgdm("reference", up_block_types=["CrossAttnUpBlock2D"], **one_level)
    window = given(sgdm)
    expected = [sgdm.guided(**{**window, "timestep": torch.tensor(step)}) for step in (500, 300)]
    tune(sgdm, Engine(compile=True))
    with sgdm.one_clip():
        compiled = [sgdm.guided(**{**window, "timestep": torch.tensor(step)}) for step in (500, 300)]
    torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-5)
    assert isinstance(sgdm.passes.denoise, Compiled)
    assert sgdm.passes.denoise._compiled is not None  # no quiet fallback
    assert isinstance(copy.deepcopy(sgdm).passes.denoise, Compiled)
    assert tune(sgdm, Engine()).passes is walk.PLAIN


def test_what_cannot_be_compiled_runs_as_it_is(
    make_sgdm: MakeSGDM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_function: Any, **_options: Any) -> Any:
        def fail(*_: Any) -> Any:
            raise RuntimeError("InvalidCxxCompiler: no working compiler\nfound")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    sgdm = make_sgdm()
    window = given(sgdm)
    expected = sgdm.guided(**window)
    tune(sgdm, Engine(compile=True))
    with caplog.at_level(logging.WARNING, "anchor"):
        assert all(torch.equal(sgdm.guided(**window), expected) for _ in range(2))
    told = [record.getMessage() for record in caplog.records]
    message = "the network could not be compiled and runs as it is: InvalidCxxCompiler: no working compiler"
    assert told == [message, message]  # of the ControlNet and of the U-Net


def test_errors_of_the_network_are_not_the_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise InterruptedError

    monkeypatch.setattr(torch, "compile", lambda function, **_options: function)
    function = Compiled(interrupted)
    with pytest.raises(InterruptedError):
        function()
    assert function._compiled is not None


def test_every_kernel_is_documented() -> None:
    assert all(f'"{name}"' in (Engine.__doc__ or "") for name in ATTENTION_KERNELS)
