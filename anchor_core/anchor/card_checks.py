"""The checks that both parts of a card share; an error names the field, its value and what is needed."""

from __future__ import annotations

from ..errors import AnchorError


def require(key: str, value: object, good: bool, needed: str) -> None:
    """Raise AnchorError, with the field and its value, unless `good`."""
    if not good:
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
        raise AnchorError(f"The anchor's card says {key} = {shown}; it must be {needed}.")


def check_number(key: str, value: object, low: float, high: float, whole: bool) -> None:
    """Raise AnchorError unless the value is a number, or a whole one, from low to high."""
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    good = good and low <= value <= high  # type: ignore[operator]
    require(key, value, good, f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}")
