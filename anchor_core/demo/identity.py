"""The people of the demo world: colours, shape of the body, hair and clothes, all from one seed."""

from __future__ import annotations

import colorsys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Colour = tuple[float, float, float]
TIE_PATTERNS = ("stripes", "plain", "dots", "none")
_SKINS = ("#f3cdb4", "#e9b898", "#d9a178", "#bd8157", "#96603c", "#6d432b")
_HAIRS = ("#241a15", "#3b2718", "#5d3a20", "#8a5a2c", "#c79a55", "#8f8d8a", "#9c4a22", "#17171c")


@dataclass(frozen=True)
class Identity:
    """One person. Colours are sRGB in [0, 1]; betas are the five shapes of the stand-in body."""

    seed: int
    skin: Colour
    hair: Colour
    eyes: Colour
    suit: Colour
    shirt: Colour
    tie: Colour
    tie_second: Colour
    backdrop: Colour
    backdrop_second: Colour
    desk: Colour
    hair_style: str
    tie_pattern: str
    glasses: bool
    beard: float
    pocket_square: bool
    betas: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return asdict(self)


def make_identity(seed: int) -> Identity:
    """The person of this seed; seed 0 is the demo's anchor: glasses, navy suit, striped tie."""
    if seed == 0:
        return _the_anchor()
    rng = np.random.default_rng([seed, 90210])
    female = rng.random() < 0.5
    hue = float(rng.random())
    backdrop_hue = float((hue + rng.uniform(0.25, 0.75)) % 1)
    weight, muscle, old, tall = (float(x) for x in rng.normal(0, 0.5, 4))
    return Identity(
        seed=seed,
        skin=_mixed(rng, _SKINS),
        hair=_mixed(rng, _HAIRS),
        eyes=_hsv(rng.choice([0.07, 0.09, 0.33, 0.58]), 0.6, 0.45),
        suit=_hsv(hue, rng.uniform(0.15, 0.75), rng.uniform(0.16, 0.62)),
        shirt=_hsv(rng.random(), rng.uniform(0.0, 0.22), rng.uniform(0.86, 0.97)),
        tie=_hsv(rng.random(), rng.uniform(0.5, 0.9), rng.uniform(0.35, 0.8)),
        tie_second=_hsv(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.5, 0.9)),
        backdrop=_hsv(backdrop_hue, rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.65)),
        backdrop_second=_hsv(
            backdrop_hue + rng.uniform(-0.1, 0.1), rng.uniform(0.2, 0.6), rng.uniform(0.5, 0.85)
        ),
        desk=_hsv(rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0.15, 0.6)),
        hair_style=str(rng.choice(["bob", "long", "bun"] if female else ["short", "quiff"])),
        tie_pattern=str(rng.choice(["none", "none", "plain"] if female else list(TIE_PATTERNS[:3]))),
        glasses=bool(rng.random() < 0.35),
        beard=0.0 if female else float(rng.choice([0.0, 0.25, 0.8])),
        pocket_square=bool(rng.random() < 0.5),
        betas=(0.6 * abs(weight), muscle, 1.6 if female else 0.0, 0.6 * abs(old), 0.4 * tall),
    )


def _the_anchor() -> Identity:
    return Identity(
        seed=0,
        skin=_hex("#eabf9f"),
        hair=_hex("#4a2d18"),
        eyes=_hex("#3f5a72"),
        suit=_hex("#2b4377"),
        shirt=_hex("#f2f4f7"),
        tie=_hex("#a8202c"),
        tie_second=_hex("#d8a558"),
        backdrop=_hex("#35657f"),
        backdrop_second=_hex("#86b9c9"),
        desk=_hex("#6b4a33"),
        hair_style="quiff",
        tie_pattern="stripes",
        glasses=True,
        beard=0.0,
        pocket_square=True,
        betas=(0.25, 0.5, 0.0, 0.1, 0.0),
    )


def _mixed(rng: np.random.Generator, palette: tuple[str, ...]) -> Colour:
    """A colour between two neighbours of a palette."""
    index = int(rng.integers(len(palette) - 1))
    low, high, weight = _hex(palette[index]), _hex(palette[index + 1]), float(rng.random())
    red, green, blue = (a + (b - a) * weight for a, b in zip(low, high, strict=True))
    return red, green, blue


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    return colorsys.hsv_to_rgb(float(hue) % 1.0, float(saturation), float(value))


def _hex(text: str) -> Colour:
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
