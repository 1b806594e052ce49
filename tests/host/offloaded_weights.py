"""Run inside ComfyUI's own Python: does an anchor compute with weights that the host left elsewhere?

It is the demo anchor with an untrained face network.

Under --lowvram and --novram weights stay on the CPU and are cast for every call. Without a GPU, two things
show the same: weights in bfloat16 with inputs in float32 (the numbers), and inputs on the "meta" device,
where any weight that is not cast raises (the places). Prints one JSON object.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, sys.argv.pop(1))

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.model_patcher  # noqa: E402
import torch  # noqa: E402


def import_pack() -> Any:
    """The pack under a name of its own, as the host imports it."""
    spec = importlib.util.spec_from_file_location(
        "anchor_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["anchor_pack"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return importlib.import_module("anchor_pack.nodes._host")


def stuck_layers(network: torch.nn.Module, host: Any) -> list[str]:
    """Layers with weights that could not be used from the CPU."""
    return [
        name
        for name, layer in network.named_modules()
        if any(True for _ in layer.parameters(recurse=False))
        and not (hasattr(layer, "comfy_cast_weights") or isinstance(layer, host.CastableWindowGroupNorm))
    ]


@torch.inference_mode()
def predict(network: Any, frames: int, device: str = "cpu") -> torch.Tensor:
    """Predictions for a window of `frames`: by a plain pass, and twice by the pass that shares contexts."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator).to(device)  # noqa: E731
    pose = network.embed_pose(draw(frames, 3, 64, 64).sigmoid())
    latents = draw(1, frames, network.latent_channels, 8, 8)
    tokens, extra = draw(1, 17, network.appearance_width), network.inpaint_channels
    inpaint = draw(1, frames, extra, 8, 8) if extra else None
    timestep = torch.tensor(500, device=device)
    with network.one_clip():
        guided = [network.guided(latents, timestep, tokens, pose[None], 1.0, inpaint)[0] for _ in range(2)]
    return torch.cat([network(latents, timestep, tokens, pose[None], 1.0, inpaint), *guided])


def offloaded_share(network: Any, budget: float) -> float:
    """Share of the weights left on the CPU within `budget` bytes on the device; a prediction works then."""
    patcher = comfy.model_patcher.ModelPatcher(network, torch.device("meta"), torch.device("cpu"))
    patcher.partially_load(torch.device("meta"), budget)
    predict(network, 3, "meta")
    weights = list(network.parameters())
    return sum(weight.device.type == "cpu" for weight in weights) / len(weights)


def main() -> None:
    """Compare the managed networks with plain ones that hold the same rounded weights."""
    host = import_pack()
    from anchor_pack.anchor_core.anchor.file import load_anchor
    from anchor_pack.anchor_core.demo.networks import new_face_sgdm
    from anchor_pack.anchor_core.files import ASSETS

    def loaded() -> Any:
        anchor = replace(load_anchor(ASSETS / "demo_anchor.safetensors"), face=new_face_sgdm(1).eval())
        for network in (anchor.body, anchor.face, anchor.vae):
            network.to(torch.bfloat16).float()
        return anchor

    plain, managed = loaded(), host.manage(loaded(), torch.float32)
    parts = (managed.body, managed.network("face"), managed.vae.first_stage_model)
    for network in parts:
        network.to(torch.bfloat16)
    facts = {
        "stuck": [name for network in parts for name in stuck_layers(network, host)],
        "body": difference(plain.body, managed.body),
        "face": difference(plain.face, managed.network("face")),
        **vae_differences(plain.vae, managed.codec()),
    }
    networks = parts[:2]
    facts["novram"] = min(offloaded_share(network, 0.1) for network in networks)
    facts["lowvram"] = [offloaded_share(network, size_of(network) / 2) for network in networks]
    print(json.dumps(facts))


def size_of(network: torch.nn.Module) -> int:
    """Bytes of all weights."""
    return sum(weight.nbytes for weight in network.parameters())


def difference(plain: Any, managed: Any) -> float:
    """The largest one between two networks' predictions, for one frame and for a window."""
    return max(float((predict(plain, n) - predict(managed, n)).abs().max()) for n in (1, 3))


@torch.inference_mode()
def vae_differences(vae: Any, codec: Any) -> dict[str, float]:
    """The largest ones between a plain VAE and the host's, both ways."""
    from anchor_pack.anchor_core.face.codec import codec_of

    # fp32 stays the type of the host's VAE: the weights alone are in another one.
    plain, generator = codec_of(vae), torch.Generator().manual_seed(0)
    assert (plain.channels, plain.stride) == (codec.channels, codec.stride)
    pictures = torch.rand(3, 64, 64, 3, generator=generator)
    latents = torch.randn(3, plain.channels, 8, 8, generator=generator)
    return {
        "encode": float((plain.encode(pictures, 0) - codec.encode(pictures, 0)).abs().max()),
        "decode": float((plain.decode(latents) - codec.decode(latents)).abs().max()),
    }


main()
