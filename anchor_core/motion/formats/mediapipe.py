"""ARKit's 52 face coefficients, as MediaPipe measures them, as expression, jaw and gaze.

MediaPipe's Face Landmarker names 52 coefficients: 51 of ARKit and "_neutral"; it does not measure the tongue.
The jaw and the eyes are joints of SMPL-X, so what opens the mouth and turns the eyes goes to the joints, and
not to the expression as well: it would count twice on a body whose shapes do the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import AnchorError

Array = np.ndarray

JAW_OPEN_RAD = 0.4
"""Turn of the jaw's joint that opens the stand-in's mouth as far as its shape jawOpen does."""
# Turn of the eyes at 1: by what the stand-in's shapes move the pupil.
_GAZE_RAD = {"In": 0.37, "Out": 0.36, "Down": 0.29, "Up": 0.18}
_FEWEST = 20  # of ARKit's names that have to be there; other trackers leave some out


def face_from_arkit(frames: Sequence[Mapping[str, float] | None]) -> tuple[Array, Array, Array]:
    """Expression (F, 52) in [0, 1] in the order of the stand-in, rotations (F, 3) of the jaw and (F, 2, 3) of
    the left and right eye in radians.

    frames: coefficients in [0, 1] by ARKit's names, None where no face was found: a row of NaN. Names that
    are not there count as 0, "_neutral" is left out. jawOpen and eyeLook... are 0 in the expression, because
    jaw and eyes do what they say. Raises AnchorError where the names are not those of ARKit.
    """
    names = _arkit_names()
    _check_names(frames, names)
    values = {name: np.array([_value(face, name) for face in frames]) for name in names}
    jaw = np.zeros((len(frames), 3))
    jaw[:, 0] = JAW_OPEN_RAD * values["jawOpen"]
    eyes = np.stack([_gaze(values, "Left", 1.0), _gaze(values, "Right", -1.0)], axis=1)
    joints = [name for name in names if name == "jawOpen" or name.startswith("eyeLook")]
    rest = {name: np.where(np.isnan(values[name]), np.nan, 0.0) for name in joints}
    return np.stack(list((values | rest).values()), axis=1), jaw, eyes


def _arkit_names() -> tuple[str, ...]:
    from ...body.model import standin_body  # here: the body's own modules import this package

    return standin_body().expression_names


def _check_names(frames: Sequence[Mapping[str, float] | None], names: tuple[str, ...]) -> None:
    for i, face in enumerate(frames):
        if face is not None and (not isinstance(face, Mapping) or len(set(names) & set(face)) < _FEWEST):
            found = ", ".join(map(str, list(face)[:4])) if isinstance(face, Mapping) else type(face).__name__
            raise AnchorError(
                f"The face of frame {i} holds {found or 'nothing'}: it needs ARKit's coefficients by name, "
                "as the MediaPipe face nodes give them."
            )


def _value(face: Mapping[str, float] | None, name: str) -> float:
    """The coefficient; NaN where no face or no number is."""
    if face is None:
        return float("nan")
    try:
        value = float(face.get(name, 0.0))
    except (TypeError, ValueError) as error:
        raise AnchorError(f"The face's '{name}' is {face[name]!r}: it needs a number from 0 to 1.") from error
    return min(max(value, 0.0), 1.0) if np.isfinite(value) else float("nan")


def _gaze(values: Mapping[str, Array], side: str, outwards: float) -> Array:
    """Rotation (F, 3) of one eye; outwards: sign of its turn about y (to the person's left) for "Out"."""
    turn = {way: values[f"eyeLook{way}{side}"] * angle for way, angle in _GAZE_RAD.items()}
    down, out = turn["Down"] - turn["Up"], turn["Out"] - turn["In"]
    return np.stack([down, outwards * out, np.zeros_like(down)], axis=1)
