"""The one error that users see: a sentence with what was given, what is needed and what to do."""

from __future__ import annotations


class AnchorError(ValueError):
    """Bad input, found at the border.

    The message is one clear sentence for a person: what was given, what is needed, what to do.
    """
