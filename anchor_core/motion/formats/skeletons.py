"""Names of the joints of motion-capture skeletons, and which joint of SMPL-X each one drives.

Joints are told by their names alone; prefixes ("mixamorig:", "Bip01 "), capitals and separators do not count.
Where no known skeleton fits, a JSON file {joint of the skeleton: joint of SMPL-X} says it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import AnchorError
from ..rest import FINGERS, JOINT_NAMES, SIDES

_LIMBS = ("collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot")
REQUIRED = ("pelvis", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow")
"""Without these there is no upper body to drive."""
_PREFIX = re.compile(r"^(mixamorig\d*|bip\d+|ccbase|valvebiped)(?=[a-z])")
_MIXAMO = "mixamorig"
_MAX_MAPPING_BYTES = 1024**2
_MAX_LISTED = 40


@dataclass(frozen=True)
class Naming:
    """How one family of skeletons names its joints: small letters without separators, "|" between names that
    mean the same.

    sides: what stands around a name on the left and on the right, with "{}" for the name. spine: from the
    lowest joint to the one that carries the shoulders. limbs: in the order of `_LIMBS`. fingers: in the order
    of `FINGERS`, three joints each. marks: names that only this member of a family has.
    """

    name: str
    sides: tuple[str, str]
    pelvis: str
    spine: str
    limbs: str
    fingers: tuple[str, ...] = ()
    neck: str = "neck"
    head: str = "head"
    jaw: str = "jaw"
    eye: str = "eye"
    marks: frozenset[str] = frozenset()


def _finger_names(pattern: str, words: str, labels: str, thumb: str = "") -> tuple[str, ...]:
    """Names of the joints of five fingers; the thumb may label its joints in another way."""
    rows = []
    for word in words.split():
        used = thumb.split() if thumb and word == words.split()[-1] else labels.split()
        rows.append(" ".join("|".join(pattern.format(w, k) for w in word.split("|")) for k in used))
    return tuple(rows)


_NAMED = "index middle pinky|little ring thumb"
_NUMBERED = "2 3 5 4 1"
_ORDINALS = "second third fifth fourth first"
# Motion Builder's names; where the fingers have metacarpals they are numbered (Rokoko).
_HIK_FINGERS = tuple(
    " ".join(f"{a}|{b}" for a, b in zip(one.split(), other.split(), strict=True))
    for one, other in zip(
        _finger_names("hand{}{}", _NAMED, "1 2 3"),
        _finger_names("finger{}{}", _NUMBERED, "proximal medial distal", "metacarpal proximal distal"),
        strict=True,
    )
)
_HIK = Naming(
    name="MotionBuilder (HumanIK)",
    sides=("left{}", "right{}"),
    pelvis="hips|hip",
    spine="spine spine1 spine2 spine3 spine4 spine5",
    neck="neck|neck1",
    limbs="shoulder arm forearm hand upleg|thigh leg|shin foot forefoot|toebase|toe",
    fingers=_HIK_FINGERS,
)
_UNITY = Naming(
    name="Unity humanoid, VRM",
    sides=("left{}", "right{}"),
    pelvis="hips|pelvis",
    spine="spine chest upperchest",
    limbs="shoulder upperarm|uparm lowerarm|lowarm|forearm hand upperleg lowerleg foot toes|toebase|toe",
    fingers=_finger_names("{}{}", _NAMED, "proximal intermediate distal"),
)
_XSENS = Naming(
    name="Xsens MVN",
    sides=("left{}", "right{}"),
    pelvis="pelvis|hips",
    spine="l5 l3 t12 t8",
    limbs="shoulder upperarm forearm hand upperleg lowerleg foot toe",
    fingers=_finger_names("{}{}", _ORDINALS, "pp mp dp", "mc pp dp"),
)
_BIOVISION = Naming(
    name="Biovision, Xsens MVN BVH",
    sides=("left{}", "right{}"),
    pelvis="hips|hip",
    spine="spine chest chest1 chest2 chest3 chest4",
    limbs="collar shoulder|uparm elbow|lowarm wrist|hand hip|upleg knee|lowleg ankle|foot toe",
    fingers=_finger_names("{}{}", _NAMED, "1 2 3"),
)
_POSER = Naming(
    name="Poser, DAZ",
    sides=("l{}", "r{}"),
    pelvis="hip|hips|pelvis",
    spine="abdomen|abdomenlower abdomen2|abdomenupper chest|chestlower chestupper",
    limbs="collar shldr|shldrbend forearm|forearmbend hand thigh|thighbend shin foot toe",
    fingers=_finger_names("{}{}", "index mid|middle pinky ring thumb", "1 2 3"),
    neck="neck|necklower",
)
_SMPL = Naming(
    name="SMPL-X",
    sides=("left{}", "right{}"),
    pelvis="pelvis",
    spine="spine1 spine2 spine3",
    limbs="collar shoulder elbow wrist hip knee ankle foot",
    fingers=_finger_names("{}{}", "index middle pinky ring thumb", "1 2 3"),
)
_UNREAL = Naming(
    name="Unreal",
    sides=("{}l", "{}r"),
    pelvis="pelvis",
    spine="spine01 spine02 spine03 spine04 spine05",
    limbs="clavicle upperarm lowerarm hand thigh calf foot ball",
    fingers=_finger_names("{}0{}", "index middle pinky ring thumb", "1 2 3"),
    neck="neck01",
)
_BIPED = Naming(
    name="3ds Max Biped",
    sides=("l{}", "r{}"),
    pelvis="pelvis",
    spine="spine spine1 spine2 spine3",
    limbs="clavicle upperarm forearm hand thigh calf foot toe0",
    fingers=tuple(f"finger{n} finger{n}1 finger{n}2" for n in (1, 2, 4, 3, 0)),
)
_MHR = Naming(
    name="MHR",
    sides=("l{}", "r{}"),
    pelvis="root",
    spine="cspine0 cspine1 cspine2 cspine3",
    limbs="clavicle uparm lowarm wrist upleg lowleg foot ball",
    fingers=_finger_names("{}{}", "index middle pinky ring thumb", "1 2 3"),
    neck="cneck",
    head="chead",
    jaw="cjaw",
)
NAMINGS = (
    _HIK,
    replace(_HIK, name="Mixamo", marks=frozenset({_MIXAMO})),
    replace(_HIK, name="LaFAN1", marks=frozenset({"lefttoe", "leftupleg", "spine2"})),
    replace(_HIK, name="BEAT", marks=frozenset({"spine3", "neck1", "lefthandring", "lefthandpinky"})),
    replace(_HIK, name="Rokoko", marks=frozenset({"leftthigh", "leftshin"})),
    # The single chain of finger joints of CMU's gloves stands for all fingers: none of them can be told.
    replace(
        _HIK,
        name="CMU",
        spine="lowerback spine spine1",
        fingers=(),
        marks=frozenset({"lhipjoint", "lowerback"}),
    ),
    _UNITY,
    _XSENS,
    _BIOVISION,
    _POSER,
    _SMPL,
    replace(_SMPL, name="SMPL", sides=("l{}", "r{}")),
    _UNREAL,
    _BIPED,
    _MHR,
)
"""All skeletons that are known by name."""


def map_joints(names: Sequence[str], mapping: Path | None = None) -> tuple[str, dict[int, int]]:
    """Name of the skeleton, and for each joint of SMPL-X (0 to 54) that it drives the number of its joint.

    names: the skeleton's joints. mapping: a JSON file {joint of the skeleton: joint of SMPL-X} to use instead
    of the known skeletons. Raises AnchorError that lists the joints that were not understood.
    """
    if mapping is not None:
        return Path(mapping).stem, _read_mapping(names, Path(mapping))
    found = _numbers(names)
    fits = [(_fit(naming, found), naming) for naming in NAMINGS if naming.marks <= set(found)]
    joints, naming = max(fits, key=lambda fit: (len(fit[0]), len(fit[1].marks)))
    missing = [name for name in REQUIRED if JOINT_NAMES.index(name) not in joints]
    if missing:
        unknown = [name for k, name in enumerate(names) if k not in joints.values()]
        raise AnchorError(
            f"The skeleton is not a known one: nothing in it is {_listed(missing)} of SMPL-X, and these "
            f"joints were not understood: {_listed(unknown)}; give skeleton, a JSON file that maps joints of "
            'the file to joints of SMPL-X, such as {"Hips": "pelvis", "LeftArm": "left_shoulder"}.'
        )
    return naming.name, joints


def plain_name(name: str) -> str:
    """A joint's name in small letters, without namespace, separators and the prefixes of known programs."""
    letters = re.sub(r"[^a-z0-9]", "", name.rsplit(":", 1)[-1].lower())
    return _PREFIX.sub("", letters)


def _numbers(names: Sequence[str]) -> dict[str, int]:
    """Number of each joint by its plain name; the first of several with one name counts."""
    cut = len(_shared_prefix(names))
    found: dict[str, int] = {}
    for number, name in enumerate(names):
        found.setdefault(plain_name(name[cut:]), number)
    if any(plain.lower().startswith(_MIXAMO) for plain in names):
        found.setdefault(_MIXAMO, -1)
    return found


def _shared_prefix(names: Sequence[str]) -> str:
    """What all names start with, up to a separator: the name of the character."""
    first, last = min(names), max(names)
    same = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return re.sub(r"[^ _:.\-]*$", "", first[:same])


def _fit(naming: Naming, found: dict[str, int]) -> dict[int, int]:
    """The joints of SMPL-X that a skeleton drives when it is read with this naming."""
    pairs = [("pelvis", naming.pelvis), ("neck", naming.neck), ("head", naming.head), ("jaw", naming.jaw)]
    for side, pattern in zip(SIDES, naming.sides, strict=True):
        pairs += [
            (f"{side}_{part}", _around(pattern, names))
            for part, names in zip((*_LIMBS, "eye"), (*naming.limbs.split(), naming.eye), strict=True)
        ]
        for finger, row in zip(FINGERS, naming.fingers, strict=False):
            pairs += [
                (f"{side}_{finger}{k}", _around(pattern, names)) for k, names in enumerate(row.split(), 1)
            ]
    joints = {}
    for joint, names in (*pairs, *_spine(naming, found)):
        number = next((found[name] for name in names.split("|") if name in found), None)
        if number is not None:
            joints[JOINT_NAMES.index(joint)] = number
    return joints


def _around(pattern: str, names: str) -> str:
    return "|".join(pattern.format(name) for name in names.split("|"))


def _spine(naming: Naming, found: dict[str, int]) -> list[tuple[str, str]]:
    """Three joints of the spine out of as many as there are; the uppermost is always the chest."""
    there = [names for names in naming.spine.split() if any(name in found for name in names.split("|"))]
    if len(there) < 3:
        return list(zip(("spine3",) if len(there) == 1 else ("spine1", "spine3"), there, strict=False))
    return list(
        zip(("spine1", "spine2", "spine3"), (there[0], there[len(there) // 2], there[-1]), strict=True)
    )


def _read_mapping(names: Sequence[str], path: Path) -> dict[int, int]:
    """The joints that the user's JSON file maps."""
    try:
        with open(path, "rb") as handle:
            content = json.loads(handle.read(_MAX_MAPPING_BYTES))
    except OSError as error:
        raise AnchorError(f"skeleton {path} cannot be read ({error.strerror}): check the path.") from error
    except (ValueError, RecursionError) as error:
        raise AnchorError(
            f"skeleton {path.name} is not JSON ({error}): give a JSON object of names."
        ) from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise AnchorError(f'skeleton {path.name} needs one JSON object, such as {{"Hips": "pelvis"}}.')
    unknown = [joint for joint in content.values() if joint not in JOINT_NAMES]
    if unknown:
        raise AnchorError(
            f"skeleton {path.name} names joints that SMPL-X does not have, {_listed(unknown)}: its joints "
            f"are {', '.join(JOINT_NAMES[:25])}, and left_index1 to right_thumb3."
        )
    absent = [name for name in content if name not in names]
    if absent:
        raise AnchorError(
            f"skeleton {path.name} names joints that the file does not have, {_listed(absent)}: the file has "
            f"{_listed(list(names))}."
        )
    joints = {JOINT_NAMES.index(joint): list(names).index(name) for name, joint in content.items()}
    missing = [name for name in REQUIRED if JOINT_NAMES.index(name) not in joints]
    if missing or len(joints) < len(content):
        problem = f"lacks {_listed(missing)}" if missing else "maps two joints to one joint of SMPL-X"
        raise AnchorError(f"skeleton {path.name} {problem}: complete it.")
    return joints


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more
