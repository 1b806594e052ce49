"""`evaluate`: a generated video against the true one, as a table, as JSON and as a page to look at."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnchorError
from .options import add_motion_options, anchor_from, body_from, check_outputs, motion_from
from .progress import step_bar
from .retargeting import add_retarget_options, retargeted

if TYPE_CHECKING:
    from ..anchor.card import AnchorCard
    from ..evaluation.evaluate import EvaluateOptions
    from ..evaluation.frames import Clip
    from ..evaluation.guide import Guide

_WEIGHTS = (
    ("inception", "weights-inception-2015-12-05-6726825d.pth of torch-fidelity, for FID"),
    ("i3d", "i3d_pretrained_400.pt, for FVD"),
    ("lpips", "alexnet-owt-7be5be79.pth or vgg16-397923af.pth of torchvision, for LPIPS"),
    ("landmarks", "dw-ll_ucoco_384.onnx of DWPose, for the landmark distances"),
)


def add_commands(commands: Any) -> None:
    """Register `evaluate`."""
    parser = commands.add_parser("evaluate", help="measure a generated video against the true one")
    parser.add_argument("result", type=Path, metavar="RESULT", help="video, or folder of pictures")
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--truth", type=Path, metavar="PATH", help="the true video, or folder of pictures")
    whose.add_argument("--dataset", type=Path, metavar="FOLDER", help="its held-out frames are the truth")
    parser.add_argument("--clip", metavar="NAME", help="which clip of the data set, where there are several")
    parser.add_argument(
        "--truth-start", type=int, default=0, metavar="N", help="first frame of the truth (default 0)"
    )
    parser.add_argument("--trim", action="store_true", help="end with the shorter one of both")
    parser.add_argument(
        "--windows",
        metavar="SIZE/OVERLAP",
        help="of the denoising, for the seam index (default: as the video says, else as the anchor's card)",
    )
    parser.add_argument("--examples", type=int, default=6, metavar="N", help="frames to show (default 6)")
    parser.add_argument("--device", default="cpu", help="of the networks of metrics (default cpu)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="gets metrics.json and page.html"
    )
    _add_weights(parser)
    _add_guide(parser)
    parser.set_defaults(run=run)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "weights of metrics", "nothing is downloaded; a metric without its weights is left out, and says so"
    )
    for name, text in _WEIGHTS:
        group.add_argument(f"--{name}", type=Path, metavar="FILE", help=text)


def _add_guide(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--anchor", type=Path, metavar="FILE", help="the anchor of the result: its windows, its camera"
    )
    # The motion that the result was made of, with the options that it was made with.
    add_motion_options(parser, None, required=False)
    add_retarget_options(parser)


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, write JSON and page."""
    from ..evaluation.evaluate import evaluate_clips
    from ..evaluation.page import write_page
    from ..evaluation.report import table, write_metrics

    numbers, page = args.out / "metrics.json", args.out / "page.html"
    check_outputs(args, numbers, page)
    card = None if args.anchor is None else _card(args.anchor)
    options = _options(args, card)
    result, truth, guide = _compared(args, card)
    evaluation = evaluate_clips(result, truth, options, step_bar, guide=guide)
    write_metrics(numbers, evaluation)
    write_page(page, evaluation)
    print(table(evaluation))
    print(f"{numbers}, {page}")


def _options(args: argparse.Namespace, card: AnchorCard | None) -> EvaluateOptions:
    from ..evaluation.evaluate import EvaluateOptions, MetricWeights
    from ..evaluation.made_with import parse_windows, windows_of
    from .options import device_from

    args.precision = "fp32"  # metrics are defined by it
    windows = parse_windows(args.windows) if args.windows else windows_of(args.result, card)
    return EvaluateOptions(
        weights=MetricWeights(**{name: getattr(args, name) for name, _ in _WEIGHTS}),
        windows=windows,
        fps=args.fps,
        trim=args.trim,
        examples=args.examples,
        device=device_from(args)[0],
    )


def _compared(args: argparse.Namespace, card: AnchorCard | None) -> tuple[Clip, Clip, Guide | None]:
    """Result, truth, and what is known about their frames."""
    from ..evaluation.frames import open_clip
    from ..evaluation.guide import Guide
    from ..evaluation.held_out_set import held_out_truth

    result = open_clip(args.result)
    if args.dataset is not None:
        if args.motion is not None or args.truth_start:
            raise AnchorError("--motion and --truth-start belong to --truth: a data set knows its own motion")
        held_out = held_out_truth(args.dataset, body_from(args, "neutral"), args.clip)
        return held_out.end_of(result), held_out.truth, held_out.guide
    if args.clip is not None:
        raise AnchorError(f"--clip {args.clip} names a clip of a data set: give --dataset instead of --truth")
    truth = open_clip(args.truth, args.truth_start, like=result)
    if args.motion is None:
        return result, truth, None
    motion = motion_from(args)
    motion = motion if card is None else retargeted(args, motion, card)
    return result, truth, Guide(motion, body_from(args, motion.gender))


def _card(path: Path) -> AnchorCard:
    from ..anchor.file import read_card

    return anchor_from(path).card if path.is_dir() or not path.exists() else read_card(path)
