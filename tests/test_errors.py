"""A message stays one short line, whatever it quotes."""

from __future__ import annotations

import pytest

from anchor_core.errors import AnchorError, is_out_of_memory


def test_message_is_one_line() -> None:
    message = str(AnchorError("a file of\n'x\ty'\x1b[31m: choose another."))
    assert message == "a file of 'x y'?[31m: choose another."


def test_long_message_keeps_what_was_given_and_what_to_do() -> None:
    message = str(AnchorError(f"big.npz holds {'x' * 10_000}: copy or download it again."))
    assert len(message) < 800
    assert message.startswith("big.npz holds xxx")
    assert message.endswith("xxx: copy or download it again.")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3 GiB"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_full_memory_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
