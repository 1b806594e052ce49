"""What a worker keeps from one job to the next."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from anchor_core.cli import film_options
from anchor_core.farm.worker import Worker

OPTIONS = {**dict.fromkeys(film_options.ANCHOR_OPTIONS, "ada"), "device": "auto", "precision": None}


def test_an_anchor_stays_loaded_until_a_job_needs_it_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(film_options, "anchor_with_parts", lambda options: loaded.append(options) or options)
    worker = Worker()

    def asked(**changes: Any) -> int:
        worker._anchor(Namespace(**{**OPTIONS, **changes}))
        return len(loaded)

    assert [asked(), asked()] == [1, 1]
    assert asked(vae="other") == 2
    assert asked(precision="fp16") == 3  # its weights are rounded from now on
    assert [asked(), asked()] == [4, 4]
