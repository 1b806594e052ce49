"""The evaluation as one self-contained page: table, curves, frames side by side. No script, no links."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np

from ..files import atomic_path
from .plots import draw_curve
from .report import Curve, Evaluation, Example, Measurement

_GAIN = 4
"""Differences are shown so many times as large."""
_LOSSLESS = 256  # side in pixels up to which pictures are kept exactly; larger ones as JPEG of high quality
_JPEG = 93
_STYLE = """
:root{color-scheme:light dark;--paper:#fafafa;--ink:#1c1d20;--faint:#6b6f76;--rule:#dcdee2;--card:#fff;
--one:#2f6fdb;--two:#d9822b;--three:#2a9d6f;--mark:#d9822b}
@media(prefers-color-scheme:dark){:root{--paper:#17181b;--ink:#e8e9eb;--faint:#9a9fa7;--rule:#34373c;
--card:#1f2124;--one:#74a6ff;--two:#f0a050;--three:#5fcf9f;--mark:#f0a050}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:18px;margin:40px 0 8px}
p{margin:0 0 12px;color:var(--faint)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;background:var(--card)}
th,td{padding:7px 12px;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}
th{font-weight:600;color:var(--faint);font-size:13px}
td.number{text-align:right;font-variant-numeric:tabular-nums;font-weight:600;white-space:nowrap}
td.name,td.better{white-space:nowrap}td.better,td.note{color:var(--faint)}td.note{min-width:230px}
tr.none td{color:var(--faint);font-weight:400}
figure{margin:0 0 20px}figcaption{margin:0 0 4px}figcaption span{color:var(--faint);margin-left:8px}
svg{width:100%;height:auto;background:var(--card);border:1px solid var(--rule);display:block}
svg text{font-size:12px;fill:var(--faint)}.grid{stroke:var(--rule);fill:none}
.mark{stroke:var(--mark);stroke-dasharray:3 3;opacity:.55;fill:none}
.line{fill:none;stroke:currentColor;stroke-width:1.4;stroke-linejoin:round}
.key{display:inline-block;width:14px;height:3px;vertical-align:middle;margin:0 4px 2px 12px;
background:currentColor}
.line,.right,.face{color:var(--one)}.down,.body{color:var(--two)}.hands{color:var(--three)}
.red{color:#d64545}.green{color:#2a9d6f}.blue{color:#4a7fe0}
.row{display:grid;gap:6px;margin-bottom:18px}.row h3{grid-column:1/-1;font-size:14px;margin:0;font-weight:600}
.row div{color:var(--faint);font-size:13px}.row img{width:100%;display:block}
"""


def write_page(path: Path, evaluation: Evaluation) -> None:
    """Write the page; it opens in any browser, from any place."""
    with atomic_path(path) as partial:
        partial.write_text(draw_page(evaluation), encoding="utf-8")


def draw_page(evaluation: Evaluation) -> str:
    """The page's HTML."""
    facts = evaluation.facts
    names = [escape(Path(str(facts[key])).name) for key in ("result", "truth")]
    seconds = f", {facts['frames'] / facts['fps']:.1f} s at {facts['fps']:g} fps" if facts["fps"] else ""
    width, height = facts["size"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{names[0]} against {names[1]}</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>{names[0]} against {names[1]}</h1>",
        f"<p>{facts['frames']} frames of {width} x {height} pixels{seconds}</p>",
        _table(evaluation.measurements),
        *_plots(evaluation),
        *_frames(evaluation.examples),
        "</main></body></html>\n",
    ]
    return "".join(parts)


def _table(measurements: tuple[Measurement, ...]) -> str:
    heading = "".join(f"<th>{text}</th>" for text in ("metric", "value", "better", "what it says", "note"))
    return f'<div class="wide"><table><tr>{heading}</tr>{"".join(map(_line, measurements))}</table></div>'


def _line(one: Measurement) -> str:
    state = ' class="none"' if math.isnan(one.value) else ""
    number = one.shown if math.isnan(one.value) else f"{one.shown} {one.kind.unit}".strip()
    cells = (
        ("name", one.kind.name),
        ("number", number),
        ("better", one.kind.better),
        ("text", one.kind.meaning),
        ("note", one.note),
    )
    return f"<tr{state}>{''.join(f'<td class={name}>{escape(text)}</td>' for name, text in cells)}</tr>"


def _plots(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.curves:
        yield "<h2>Over time</h2>"
    for curve in evaluation.curves.values():
        yield f"<figure><figcaption>{_caption(curve)}</figcaption>"
        yield f"{draw_curve(curve, evaluation.facts['frames'], evaluation.facts['fps'])}</figure>"


def _caption(curve: Curve) -> str:
    unit = f" ({escape(curve.unit)})" if curve.unit else ""
    named = [escape(name) for name in curve.values if name]
    keys = "".join(f'<span><i class="key {name}"></i>{name}</span>' for name in named)
    marks = "<span>dashed: borders of windows</span>" if curve.marks else ""
    return f"{escape(curve.name)}{unit}{keys}{marks}"


def _frames(examples: tuple[Example, ...]) -> Iterator[str]:
    if not examples:
        return
    yield "<h2>Frames side by side</h2>"
    yield f"<p>Evenly spread ones, and the worst by PSNR. Differences are shown {_GAIN} times as large.</p>"
    for example in examples:
        shown = columns(example)
        kind = ", one of the worst" if example.worst else ""
        number = "∞" if math.isinf(example.psnr) else f"{example.psnr:.2f}"
        yield f'<div class="row" style="grid-template-columns:repeat({len(shown)},1fr)">'
        yield f"<h3>frame {example.index}: {number} dB{kind}</h3>"
        for name, picture in shown.items():
            yield f'<div><img alt="{name} of frame {example.index}" src="{_encoded(picture)}">{name}</div>'
        yield "</div>"


def columns(example: Example) -> dict[str, np.ndarray]:
    """The pictures of a frame side by side, by their captions, (H, W, 3) uint8 each."""
    difference = np.abs(example.result.astype(np.int16) - example.truth.astype(np.int16))
    shown = (difference * _GAIN).clip(0, 255).astype(np.uint8)
    mesh = {} if example.mesh is None else {"mesh": example.mesh}
    return {**mesh, "result": example.result, "truth": example.truth, "difference": shown}


def _encoded(picture: np.ndarray) -> str:
    """A data URL."""
    from PIL import Image

    kind = "png" if max(picture.shape[:2]) <= _LOSSLESS else "jpeg"
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, quality=_JPEG, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
