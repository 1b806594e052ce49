"""Weight files of metrics: named by a path, read as data only, known by the hash that was published.

A metric without its weights is left out and says so; other weights than the published ones give other
numbers, so the table says that too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..anchor.weights import open_tensors

_BLOCK = 2**20


@dataclass(frozen=True)
class PublishedWeights:
    """name: of the network. sha256: first digits of published files' hashes, () where none is known."""

    name: str
    sha256: tuple[str, ...] = ()

    def note(self, path: Path) -> str:
        """ "" for a published file, else a sentence for the table."""
        found = sha256_of(path)
        if any(found.startswith(digits) for digits in self.sha256):
            return ""
        if not self.sha256:
            return f"no hash is published for {self.name}; this file has sha256 {found[:8]}"
        return f"not the published weights (sha256 {found[:8]}, published {self.sha256[0][:8]})"


def sha256_of(path: Path) -> str:
    """Hexadecimal digits of a file's hash."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors file or a pickle of tensors; no code in it runs. Raises AnchorError."""
    with open_tensors(path) as source:
        return {name: source.read(name).clone() for name in source.shapes}
