"""When a node that leaves files behind has to run again: not when only its own last run has changed them.

A node says in `fingerprint_inputs` what lies on the disk. Its run changes that, so without a memory every
second run would do everything once more.
"""

from __future__ import annotations

_SAID: dict[str, str] = {}
_MADE: dict[str, tuple[str, str]] = {}


def fingerprint(key: str, state: str) -> str:
    """What to say about `state`: the same as before the last run, if that run is what left it."""
    after, before = _MADE.get(key, ("", ""))
    _SAID[key] = before if state == after else state
    return _SAID[key]


def has_run(key: str, state: str) -> None:
    """Remember that the node's run has left `state`."""
    _MADE[key] = (state, _SAID.get(key, state))
