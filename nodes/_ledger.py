"""When a node that leaves files behind has to run again: not when only its own last run has changed them.

A node says in `fingerprint_inputs` what lies on the disk. Its run changes that, so without a memory every
second run would do everything once more.
"""

from __future__ import annotations

_KNOWN: dict[str, tuple[str, int]] = {}
"""The last state of each key, and how often others than the node's own runs have changed it."""


def fingerprint(key: str, state: str) -> str:
    """What to say about `state`: another word each time that it is not what was last seen or left there."""
    known, changes = _KNOWN.get(key, (state, 0))
    _KNOWN[key] = (state, changes + (state != known))
    return f"{key} {_KNOWN[key][1]}"


def has_run(key: str, state: str) -> None:
    """Remember that the node's run has left `state`."""
    _KNOWN[key] = (state, _KNOWN.get(key, ("", 0))[1])
