"""The page stands alone and shows what was measured."""

from __future__ import annotations

import base64
import io
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from anchor_core.evaluation.page import draw_page, write_page
from anchor_core.evaluation.plots import draw_curve, steps
from anchor_core.evaluation.report import Curve, Evaluation, Example, Measurement, left_out


def evaluation(name="a <b>.mp4", side=20):
    rng = np.random.default_rng(0)
    result, truth = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(2))
    examples = (
        Example(3, result, truth, truth // 2, 12.5, True),
        Example(5, result, truth, None, math.inf, False),
    )
    curves = {
        "psnr": Curve("PSNR", "dB", {"": [20.0, 21.0, math.nan, 22.0]}, marks=(1,)),
        "colour": Curve("Mean error", "levels", {"red": [0.0, 1.0], "green": [1.0, 2.0]}),
    }
    facts = {"result": f"/x/{name}", "truth": "t.mp4", "frames": 4, "size": [side, side], "fps": 25.0}
    return Evaluation((Measurement("psnr", 20.5), *left_out("no weights", "fid")), curves, facts, examples)


class Tags(HTMLParser):
    """Collects opened tags, and that all are closed in order."""

    def __init__(self):
        super().__init__()
        self.seen, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "path":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def test_nothing_is_loaded_and_no_script_runs(tmp_path):
    write_page(tmp_path / "page.html", evaluation())
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    tags = parsed(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags.seen}
    assert all(attributes["src"].startswith("data:image/") for tag, attributes in tags.seen if tag == "img")
    assert "http" not in page
    assert "url(" not in page


def test_names_of_files_are_text():
    page = draw_page(evaluation("<script>.mp4"))
    assert "<script>" not in page
    assert "&lt;script&gt;.mp4 against t.mp4" in page


def test_the_table_has_every_metric_and_why_one_is_missing():
    text = " ".join(parsed(draw_page(evaluation())).text)
    assert re.search(r"PSNR\s+20\.50 dB\s+higher", text)
    assert "left out: no weights" in text
    assert "dashed: borders of windows" in text
    assert "frame 3: 12.50 dB, one of the worst" in text
    assert "frame 5: ∞ dB" in text


def test_frames_stand_side_by_side_with_their_difference():
    given = evaluation()
    images = [attributes for tag, attributes in parsed(draw_page(given)).seen if tag == "img"]
    assert [image["alt"].split()[0] for image in images] == [
        *("mesh", "result", "truth", "difference"),
        *("result", "truth", "difference"),
    ]
    pixels = {
        image["alt"]: np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))))
        for image in images
    }
    example = given.examples[0]
    assert np.array_equal(pixels["result of frame 3"], example.result)
    wide = np.abs(example.result.astype(int) - example.truth)
    assert np.array_equal(pixels["difference of frame 3"], np.minimum(4 * wide, 255))


def test_large_frames_are_kept_small():
    page = draw_page(evaluation(side=300))
    assert "data:image/jpeg" in page
    assert "data:image/png" not in page


def paths(svg):
    root = ET.fromstring(svg)
    found = {}
    for path in root.iter("path"):
        found.setdefault(path.get("class").strip(), []).append(path.get("d"))
    return found


def test_a_curve_is_broken_where_there_is_no_number():
    found = paths(draw_curve(Curve("x", "", {"": [1.0, 2.0, math.nan, 3.0]}, marks=(2,)), 4, 25))
    assert found["line"][0].count("M") == 2
    assert found["line"][0].count("L") == 1
    assert len(found["mark"]) == 1


def test_a_long_curve_keeps_its_extremes():
    values = np.zeros(50_000)
    values[31_234], values[44_000] = 5, -5
    (line,) = paths(draw_curve(Curve("x", "", {"": values.tolist()}), len(values), 0))["line"]
    heights = [float(point.split()[1]) for point in re.split("[ML]", line)[1:]]
    assert len(heights) <= 1200
    assert min(heights) < np.median(heights) < max(heights)


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0], [1e9, 1e9], [-3.0, math.inf, 4.0]])
def test_odd_curves_are_drawn(values):
    svg = draw_curve(Curve("x", "", {"": values}), len(values), 25)
    assert "nan" not in svg
    assert "inf" not in svg


def test_axes_count_in_round_numbers():
    assert steps(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert steps(-0.4, 1.1, 4) == pytest.approx([0, 0.5, 1])
    assert steps(23.1, 26.9, 4) == [24, 25, 26]
