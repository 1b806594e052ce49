"""Measure generated frames against the true ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io

from ..anchor_core.errors import AnchorError
from . import _folders, _host
from ._anchor import LoadedAnchor
from ._motion import motion_input
from ._types import AnchorDataset, AnchorSocket, DatasetSocket, advanced, schema

if TYPE_CHECKING:
    from ..anchor_core.evaluation.evaluate import EvaluateOptions, MetricWeights
    from ..anchor_core.evaluation.frames import Clip
    from ..anchor_core.evaluation.guide import Guide
    from ..anchor_core.evaluation.report import Evaluation
    from ..anchor_core.motion.motion import Motion

WEIGHTS = {
    "inception": ("weights-inception-2015-12-05-6726825d.pth",),
    "i3d": ("i3d_pretrained_400.pt",),
    "lpips": ("alexnet-owt-7be5be79.pth", "vgg16-397923af.pth"),
    "landmarks": ("dw-ll_ucoco_384.onnx",),
}
"""Files that networks of metrics are published as, by what they are for."""


class EvaluateAnchorVideo(io.ComfyNode):
    """IMAGE against IMAGE, or against what a dataset holds out, as numbers and a picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs: the frames, the truth, what is known about them."""
        return schema(
            node_id="EvaluateAnchorVideo",
            display_name="Evaluate Anchor Video",
            search_aliases=["metrics", "PSNR", "SSIM", "FID", "FVD", "LPIPS", "flicker", "compare"],
            description="Measures frames against the true ones: PSNR, SSIM, flicker, seams of windows, "
            "colour drift, steadiness of the face; FID, FVD, LPIPS and landmark distances where their "
            "networks lie in models/anchor_metrics. Nothing is downloaded: what is missing is left out, and "
            "the table says so.",
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The frames to measure, from VAE Decode or the face pass."),
                io.Image.Input(
                    "truth",
                    optional=True,
                    tooltip="The true frames, as many as images. Or connect a dataset.",
                ),
                DatasetSocket.Input(
                    "dataset",
                    optional=True,
                    tooltip="Compare with its held-out frames: images are then made of held_out_motion of "
                    "Prepare Anchor Dataset, or of the motion of the whole video.",
                ),
                AnchorSocket.Input(
                    "anchor",
                    optional=True,
                    tooltip="The anchor of the frames: tells the windows, for the seam index.",
                ),
                motion_input(
                    "motion",
                    "The motion that images were made of, with its camera: tells person and face. Not "
                    "needed with a dataset, which knows its own.",
                    optional=True,
                ),
                io.Combo.Input(
                    "body",
                    options=_folders.body_names(),
                    tooltip="The body of the motion; the one of Render SMPL-X Mesh.",
                ),
                io.Float.Input(
                    "fps",
                    default=25.0,
                    min=1.0,
                    max=240.0,
                    step=0.01,
                    tooltip="Frames per second, for the drift per minute and the axis of the plots.",
                ),
                advanced(
                    io.Int.Input(
                        "window_size",
                        default=0,
                        min=0,
                        max=4096,
                        tooltip="window_size of the sampler, where it is not the anchor's. 0 = as the "
                        "anchor says; without an anchor the seam index is left out.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "overlap",
                        default=4,
                        min=0,
                        max=4096,
                        tooltip="overlap of the sampler; used where window_size is set.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "save_as",
                        default="",
                        tooltip="Name of a folder in output/anchor_evaluations that gets page.html and "
                        "metrics.json. Empty: nothing is saved.",
                    )
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="table", tooltip="All metrics, a line each; for Preview as Text."
                ),
                io.Image.Output(
                    display_name="picture",
                    tooltip="Table, curves over time, frames side by side; for Preview Image.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, save_as: str | None) -> bool | str:
        """Refuse what is no name of a folder before anything runs."""
        return (save_as and _folders.refused_name(save_as)) or True

    @classmethod
    def execute(
        cls,
        images: torch.Tensor,
        body: str,
        fps: float,
        window_size: int,
        overlap: int,
        save_as: str,
        truth: torch.Tensor | None = None,
        dataset: AnchorDataset | None = None,
        anchor: LoadedAnchor | None = None,
        motion: Motion | None = None,
    ) -> io.NodeOutput:
        """Measure, draw, save where asked."""
        from ..anchor_core.evaluation.evaluate import evaluate_clips
        from ..anchor_core.evaluation.picture import draw_evaluation
        from ..anchor_core.evaluation.report import table

        result, true, guide = _compared(images, truth, dataset, motion, body, fps)
        options = _options(anchor, window_size, overlap, fps)
        evaluation = evaluate_clips(result, true, options, _host.PartProgress(1.0), guide=guide)
        if save_as:
            _save(evaluation, save_as)
        picture = torch.from_numpy(draw_evaluation(evaluation))[None].float() / 255
        return io.NodeOutput(table(evaluation), _host.to_host(picture))


def _compared(
    images: torch.Tensor,
    truth: torch.Tensor | None,
    dataset: AnchorDataset | None,
    motion: Motion | None,
    body: str,
    fps: float,
) -> tuple[Clip, Clip, Guide | None]:
    """Result, truth, and what is known about their frames."""
    from ..anchor_core.evaluation.frames import tensor_clip
    from ..anchor_core.evaluation.guide import Guide
    from ..anchor_core.evaluation.held_out_set import held_out_truth

    result = tensor_clip(images[..., :3].float().cpu(), "images", fps)
    if (truth is None) == (dataset is None):
        raise AnchorError("images are compared with truth or with a dataset: connect one of the two")
    if dataset is not None:
        held_out = held_out_truth(dataset.folder, _folders.load_body(body, "neutral"))
        return held_out.end_of(result), held_out.truth, held_out.guide
    assert truth is not None
    true = tensor_clip(truth[..., :3].float().cpu(), "truth", fps)
    if motion is None:
        return result, true, None
    return result, true, Guide(motion, _folders.load_body(body, motion.gender))


def _options(anchor: LoadedAnchor | None, window_size: int, overlap: int, fps: float) -> EvaluateOptions:
    from ..anchor_core.evaluation.evaluate import EvaluateOptions
    from ..anchor_core.evaluation.steadiness import Windows

    windows = None if anchor is None else Windows(anchor.card.window_size, anchor.card.overlap)
    windows = Windows(window_size, overlap) if window_size else windows
    return EvaluateOptions(weights=_weights(), windows=windows, fps=fps)


def _weights() -> MetricWeights:
    from ..anchor_core.evaluation.evaluate import MetricWeights

    return MetricWeights(**{name: _folders.metric_file(*files) for name, files in WEIGHTS.items()})


def _save(evaluation: Evaluation, name: str) -> None:
    from ..anchor_core.evaluation.page import write_page
    from ..anchor_core.evaluation.report import write_metrics

    folder = _folders.output_folder(_folders.EVALUATIONS, name)
    write_metrics(folder / "metrics.json", evaluation)
    write_page(folder / "page.html", evaluation)
