"""A message stays one short line, whatever it quotes."""

from __future__ import annotations

from anchor_core.errors import AnchorError


def test_message_is_one_line() -> None:
    message = str(AnchorError("a file of\n'x\ty'\x1b[31m: choose another."))
    assert message == "a file of 'x y'?[31m: choose another."


def test_long_message_keeps_what_was_given_and_what_to_do() -> None:
    message = str(AnchorError(f"big.npz holds {'x' * 10_000}: copy or download it again."))
    assert len(message) < 800
    assert message.startswith("big.npz holds xxx")
    assert message.endswith("xxx: copy or download it again.")
