"""What every node promises: ids that never change, words at every socket, help pages that tell the same."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from .stand_in_host import ROOT

DOCS = ROOT / "nodes" / "web" / "docs"
IDS = [
    "LoadAnchorSGDM",
    "LoadSMPLXMotion",
    "RenderSMPLXMesh",
    "AppearanceCLIPEncode",
    "OverlappedTemporalSampler",
    "AnchorWindowPlan",
    "FaceTrackFromMesh",
    "FaceTrackFromPoints",
    "FaceCrop",
    "FaceSGDMInpaint",
    "EditSMPLXMotion",
    "TrimSMPLXMotion",
    "JoinSMPLXMotions",
    "RetargetSMPLXMotion",
    "PreviewSMPLXMotion",
    "PrepareAnchorDataset",
    "TrainAnchorSGDM",
    "EvaluateAnchorVideo",
    "RenderAnchorVideo",
    "SMPLXMotionFromPose",
]
WIDGETS = {"INT", "FLOAT", "BOOLEAN", "COMBO", "STRING"}
SAVED: dict[str, tuple[str, str]] = {
    "LoadAnchorSGDM": ("anchor vae clip_vision text_encoder precision", "anchor vae"),
    "LoadSMPLXMotion": ("motion start_frame n_frames sample", "motion fps frames"),
    "RenderSMPLXMesh": (
        "motion anchor width height body antialias backend",
        "images mask depth landmarks fps",
    ),
    "AppearanceCLIPEncode": ("anchor image clip_vision", "positive negative"),
    "OverlappedTemporalSampler": (
        "anchor pose positive seed steps cfg condition_scale window_size overlap schedule weighting "
        "scheduler shared_noise condition_start condition_end fidelity negative",
        "latent",
    ),
    "AnchorWindowPlan": ("frames window_size overlap schedule weighting steps", "image"),
    "FaceTrackFromMesh": (
        "landmarks anchor crop_size smoothing forehead dilation fill min_visibility",
        "face_track crops mask",
    ),
    "FaceCrop": ("images face_track frame size", "crops"),
    "EditSMPLXMotion": (
        "motion fps smoothing window mirror root lower_body curl gestures hands_gain mouth sound_offset_s",
        "motion",
    ),
    "TrimSMPLXMotion": ("motion start_s duration_s times blend_s", "motion frames"),
    "JoinSMPLXMotions": ("motion_a motion_b blend_s motion_c motion_d", "motion frames"),
    "RetargetSMPLXMotion": ("motion anchor retarget root lower_body body", "motion report picture"),
    "PreviewSMPLXMotion": ("motion anchor images images_fps size every body", "timeline"),
    "PrepareAnchorDataset": (
        "video motion name consent matte size head_size held_out perturbed body background trim "
        "accept_misfit seed",
        "dataset alignment held_out_motion report",
    ),
    "TrainAnchorSGDM": (
        "dataset start anchor name stage preset steps sample_every seed learning_rate batch_size precision "
        "lora_rank perturbation guidance_dropout min_snr_gamma licence",
        "anchor vae picture",
    ),
    "EvaluateAnchorVideo": (
        "images truth dataset anchor motion body fps window_size overlap save_as",
        "table picture",
    ),
    "RenderAnchorVideo": (
        "anchor motion name body retarget face preset seed steps cfg positive face_positive",
        "video",
    ),
    "SMPLXMotionFromPose": ("mhr_pose_data fps person face_landmarks audio max_gap_s", "motion audio"),
}
"""Inputs and outputs that workflows of earlier versions hold, in their order."""
FROM_OUTSIDE = {"FaceTrackFromPoints", "SMPLXMotionFromPose"}
"""Nodes for data of other programs, which no workflow ships with."""
_ITEM = re.compile(r"^- \*\*(\w+)\*\*(?: \(([^)]*)\))?: ", re.M)


def _sections(node_id: str) -> tuple[dict[str, str], list[str]]:
    """{input: default} and [output] of a help page: `- **name** (default): meaning`."""
    inputs, outputs = (DOCS / node_id / "en.md").read_text().split("## Outputs")
    return (
        {name: default or "" for name, default in _ITEM.findall(inputs)},
        [name for name, _ in _ITEM.findall(outputs)],
    )


def test_ids_are_those_that_workflows_hold(node_classes: list[Any]) -> None:
    assert [node.define_schema().node_id for node in node_classes] == IDS


def test_saved_workflows_find_their_inputs_and_outputs(node_classes: list[Any]) -> None:
    for node in node_classes:
        schema = node.define_schema()
        inputs, outputs = (words.split() for words in SAVED.get(schema.node_id, ("", "")))
        ids = [widget.id for widget in schema.inputs]
        assert ids[: len(inputs)] == inputs, schema.node_id
        assert [end.display_name for end in schema.outputs][: len(outputs)] == outputs, schema.node_id
        added = schema.inputs[len(inputs) :] if inputs else []
        assert all(widget.optional for widget in added), schema.node_id


def test_every_node_and_socket_is_described(node_classes: list[Any]) -> None:
    for node in node_classes:
        schema = node.define_schema()
        assert len(schema.description) > 60, schema.node_id
        assert schema.display_name
        for end in (*schema.inputs, *schema.outputs):
            assert end.tooltip, f"{schema.node_id}.{end.id or end.display_name}"
            assert len(end.tooltip) > 20, end.tooltip


def test_numbers_have_limits_and_defaults_inside_of_them(node_classes: list[Any]) -> None:
    for node in node_classes:
        for widget in node.define_schema().inputs:
            if widget.io_type in ("INT", "FLOAT"):
                assert widget.min <= widget.default <= widget.max, widget.id
            if widget.io_type == "COMBO":
                assert widget.default is None or widget.default in widget.options, widget.id


def test_execute_takes_exactly_the_inputs(node_classes: list[Any]) -> None:
    for node in node_classes:
        parameters = inspect.signature(node.execute).parameters
        names = {widget.id for widget in node.define_schema().inputs}
        named = {name for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
        assert named <= names, node
        assert named == names or "widgets" in parameters, node


def test_nodes_are_thin(node_classes: list[Any]) -> None:
    for node in node_classes:
        lines = inspect.getsource(node.execute).split('"""')[-1].strip().splitlines()
        assert len(lines) <= 25, f"{node.__name__}.execute has {len(lines)} lines"


def test_defaults_come_from_the_core(nodes: Any, node_classes: list[Any]) -> None:
    from anchor_core.sampling.sampler import SamplerSettings

    plan = {
        widget.id: widget.default
        for widget in node_classes[IDS.index("AnchorWindowPlan")].define_schema().inputs
    }
    for name in ("window_size", "overlap", "schedule", "weighting"):
        assert plan[name] == getattr(SamplerSettings, name)


def test_help_pages_list_the_same_inputs_outputs_and_defaults(node_classes: list[Any]) -> None:
    for node in node_classes:
        schema = node.define_schema()
        inputs, outputs = _sections(schema.node_id)
        assert set(inputs) == {widget.id for widget in schema.inputs}, schema.node_id
        assert outputs == [end.display_name for end in schema.outputs], schema.node_id
        for widget in schema.inputs:
            if widget.io_type in WIDGETS:
                default = widget.options[0] if widget.default is None else widget.default
                assert inputs[widget.id].lower() == str(default).lower(), f"{schema.node_id}.{widget.id}"


def test_advanced_inputs_are_marked_for_hosts_that_know_the_word(node_classes: list[Any]) -> None:
    sampler = node_classes[IDS.index("OverlappedTemporalSampler")].define_schema()
    marked = {widget.id for widget in sampler.inputs if widget.extra_dict}
    assert marked == {"shared_noise", "condition_start", "condition_end", "fidelity"}


def test_schemas_hold_no_field_that_the_oldest_host_refuses(node_classes: list[Any]) -> None:
    for node in node_classes:
        assert not hasattr(node.define_schema(), "search_aliases")


def test_workflows_hold_as_many_values_as_their_nodes_have_widgets(node_classes: list[Any]) -> None:
    schemas = {node.define_schema().node_id: node.define_schema() for node in node_classes}
    for path in sorted((ROOT / "workflows").glob("*.json")):
        for placed in json.loads(path.read_text())["nodes"]:
            if placed["type"] in schemas:
                values, inputs = len(placed["widgets_values"]), schemas[placed["type"]].inputs
                assert values in _widget_counts(inputs), f"{path.stem}: {placed['type']}"


def test_values_in_workflows_are_of_the_kinds_of_their_widgets(node_classes: list[Any]) -> None:
    schemas = {node.define_schema().node_id: node.define_schema() for node in node_classes}
    kinds: dict[str, Any] = {"INT": int, "FLOAT": (int, float), "BOOLEAN": bool, "COMBO": str, "STRING": str}
    for path in sorted((ROOT / "workflows").glob("*.json")):
        for placed in json.loads(path.read_text())["nodes"]:
            if placed["type"] in schemas:
                values = iter(placed["widgets_values"])
                for widget in _in_order_of_the_front_end(schemas[placed["type"]].inputs):
                    value = next(values, widget.default)
                    said = f"{path.stem}: {placed['type']}.{widget.id} is {value!r}"
                    assert value is None or isinstance(value, kinds[widget.io_type]), said
                    assert widget.io_type == "BOOLEAN" or not isinstance(value, bool), said
                    if widget.given.get("control_after_generate"):
                        next(values, None)


def _in_order_of_the_front_end(inputs: list[Any]) -> list[Any]:
    """Widgets as their values are saved: those that may be missing come last."""
    widgets = [widget for widget in inputs if widget.io_type in WIDGETS]
    return sorted(widgets, key=lambda widget: bool(widget.optional))


def _widget_counts(inputs: list[Any]) -> range:
    """How many values a workflow may hold; those of widgets that came later may be missing."""
    widgets = [widget for widget in inputs if widget.io_type in WIDGETS]
    controls = sum(bool(widget.given.get("control_after_generate")) for widget in widgets)
    later = sum(bool(widget.optional) for widget in widgets)
    return range(len(widgets) - later + controls, len(widgets) + controls + 1)


def test_the_workflows_use_every_node() -> None:
    paths = sorted((ROOT / "workflows").glob("*.json"))
    placed = {node["type"] for path in paths for node in json.loads(path.read_text())["nodes"]}
    assert set(IDS) - placed == FROM_OUTSIDE


def test_a_workflow_has_a_note_and_a_picture() -> None:
    paths = sorted((ROOT / "workflows").glob("*.json"))
    assert paths
    for path in paths:
        assert any(node["type"] == "MarkdownNote" for node in json.loads(path.read_text())["nodes"])
        assert Path(path).with_suffix(".jpg").is_file(), f"{path.stem} has no thumbnail"
