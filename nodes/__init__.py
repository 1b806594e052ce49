"""The ComfyUI nodes: one file per step that an artist takes, in the order of the pipeline."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import _folders, _host
from .appearance_clip_encode import AppearanceCLIPEncode
from .edit_smplx_motion import EditSMPLXMotion
from .evaluate_anchor_video import EvaluateAnchorVideo
from .face_crop import FaceCrop
from .face_sgdm_inpaint import FaceSGDMInpaint
from .face_track_from_mesh import FaceTrackFromMesh
from .face_track_from_points import FaceTrackFromPoints
from .join_smplx_motions import JoinSMPLXMotions
from .load_anchor_sgdm import LoadAnchorSGDM
from .load_smplx_motion import LoadSMPLXMotion
from .overlapped_temporal_sampler import OverlappedTemporalSampler
from .prepare_anchor_dataset import PrepareAnchorDataset
from .preview_smplx_motion import PreviewSMPLXMotion
from .render_anchor_video import RenderAnchorVideo
from .render_smplx_mesh import RenderSMPLXMesh
from .retarget_smplx_motion import RetargetSMPLXMotion
from .smplx_motion_from_pose import HOST_NODE, SMPLXMotionFromPose
from .train_anchor_sgdm import TrainAnchorSGDM
from .trim_smplx_motion import TrimSMPLXMotion
from .window_plan import AnchorWindowPlan

_folders.register_model_folders()


class AnchorExtension(ComfyExtension):
    """What ComfyUI asks for the nodes of this pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """The nodes; their ids stand in saved workflows and never change."""
        native = [SMPLXMotionFromPose] if _host.has_node(HOST_NODE) else []
        return [
            LoadAnchorSGDM,
            LoadSMPLXMotion,
            RenderSMPLXMesh,
            AppearanceCLIPEncode,
            OverlappedTemporalSampler,
            AnchorWindowPlan,
            FaceTrackFromMesh,
            FaceTrackFromPoints,
            FaceCrop,
            FaceSGDMInpaint,
            EditSMPLXMotion,
            TrimSMPLXMotion,
            JoinSMPLXMotions,
            RetargetSMPLXMotion,
            PreviewSMPLXMotion,
            PrepareAnchorDataset,
            TrainAnchorSGDM,
            EvaluateAnchorVideo,
            RenderAnchorVideo,
            *native,
        ]
