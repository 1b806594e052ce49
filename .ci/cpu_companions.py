"""Let CUDA builds of torchvision and torchaudio be imported beside a CPU-only torch.

A package index may hold only CUDA wheels of the two, and ComfyUI imports both at its start. Their
Python parts work without the compiled ones: torchvision then only misses the schemas of the operators
that it registers fakes for, and torchaudio treats an absent library as "built without extension".
Does nothing where the compiled parts load.
"""

from __future__ import annotations

import ctypes
import re
import sysconfig
from pathlib import Path

import torch  # noqa: F401  its libraries must be loaded before those of the companions

SITE = Path(sysconfig.get_paths()["purelib"])
MARK = "# declared for a CPU-only torch"


def loads(library: Path) -> bool:
    """Whether the dynamic linker accepts the library beside this torch."""
    try:
        ctypes.CDLL(str(library))
    except OSError:
        return False
    return True


def declare_torchvision_operators() -> None:
    """Append the missing operator schemas to torchvision's own loader."""
    package = SITE / "torchvision"
    if not package.is_dir() or any(loads(library) for library in package.glob("_C*.so")):
        return
    pattern = re.compile(r'register_fake\("torchvision::(\w+)"')
    operators = sorted(
        {name for source in package.rglob("*.py") for name in pattern.findall(source.read_text())}
    )
    loader = package / "extension.py"
    lines = [loader.read_text().split(MARK)[0].rstrip("\n"), "", MARK, "if not _has_ops():"]
    lines.append("    _declared = torch.library.Library('torchvision', 'DEF')")
    lines += [
        f"    _declared.define('{name}(Tensor dets, Tensor scores, float iou) -> Tensor')"
        for name in operators
    ]
    loader.write_text("\n".join(lines) + "\n")


def drop_torchaudio_libraries() -> None:
    """Remove compiled parts of torchaudio that cannot be loaded."""
    for library in (SITE / "torchaudio" / "lib").glob("*.so"):
        if not loads(library):
            library.unlink()


if __name__ == "__main__":
    declare_torchvision_operators()
    drop_torchaudio_libraries()
