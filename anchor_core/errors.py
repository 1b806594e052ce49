"""The one error that users see: a sentence with what was given, what is needed and what to do.

Also how a full memory is told from other errors.
"""

from __future__ import annotations

_START, _END = 500, 200  # characters of a longer message that are kept: what was given, and what to do
_ALLOCATION_FAILED = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


class AnchorError(ValueError):
    """Bad input, found at the border.

    The message is one clear sentence for a person: what was given, what is needed, what to do. It is kept on
    one line and short whatever is quoted in it, because names and reasons come out of files of strangers.
    """

    def __init__(self, message: str) -> None:
        line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
        if len(line) > _START + _END:
            line = f"{line[:_START]} ... {line[-_END:]}"
        super().__init__(line)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python or torch, which has a class for it on GPUs alone, says that memory could not be had."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _ALLOCATION_FAILED)
