"""What a dataset is made of: recordings of people, and the settings of its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import AnchorError
from ..face.track import check_crop_size
from ..motion.camera import Camera
from ..motion.formats.parts import ReadOptions

Crop = tuple[float, float, float, float]
MESHES = ("auto", "given", "drawn")


@dataclass(frozen=True)
class Recording:
    """One shot of one person.

    video: a file, a folder of pictures, or a finished SHOW output folder. motion: what the person does in it,
    any file that `read_motion` knows; None for a SHOW folder, which holds its own. person: recordings of one
    name show one person. matte: MASK video or folder, white where the person is.
    """

    video: Path
    motion: Path | None = None
    person: str = ""
    matte: Path | None = None


@dataclass(frozen=True)
class PrepareOptions:
    """Settings of a dataset; an AnchorError names one that is out of its range.

    size, head_size: side of the pictures and of the aligned face crops, pixels. held_out: share of each
    recording, its end, that is not trained on. perturbed: how many further meshes of perturbed parameters
    each frame gets; perturb_amount: how far they are off, see `perturb_motion`. seed: of references and
    perturbations. trim: cut video and motion to the shorter of the two. crop: left, top, width and height in
    pixels of the video, None: around the person. camera: that of the video, where the motion has none.
    background: colour behind the person under a matte, red, green, blue 0 to 255. meshes: those "given" in a
    SHOW folder, or "drawn" anew; "auto" takes the given ones where their background is black. body: SMPL-X
    file or folder of them, None: the stand-in. read: what the motion files do not say. accept_misfit: go on
    where no person is found under the mesh.
    """

    size: int = 512
    head_size: int = 256
    held_out: float = 0.1
    perturbed: int = 0
    perturb_amount: float = 3.0
    seed: int = 0
    trim: bool = False
    crop: Crop | None = None
    camera: Camera | None = None
    background: tuple[int, int, int] = (0, 0, 0)
    meshes: str = "auto"
    body: Path | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    accept_misfit: bool = False

    def __post_init__(self) -> None:
        check_crop_size(self.head_size)
        if not 32 <= self.size <= 4096 or self.size % 8:
            raise AnchorError(
                f"size is {self.size} pixels: give a multiple of 8 from 32 to 4096; 512 is published."
            )
        for name, low, high in (("held_out", 0, 0.5), ("perturbed", 0, 16), ("perturb_amount", 0, 100)):
            if not low <= getattr(self, name) <= high:
                raise AnchorError(f"{name} is {getattr(self, name)}: give a number from {low} to {high}.")
        if self.meshes not in MESHES:
            raise AnchorError(f"meshes is {self.meshes!r}: use one of {', '.join(MESHES)}.")
        if len(self.background) != 3 or not all(0 <= level <= 255 for level in self.background):
            raise AnchorError(f"background is {self.background}: give red, green and blue from 0 to 255.")
        if self.seed < 0:
            raise AnchorError(f"seed is {self.seed}: give a whole number from 0.")
