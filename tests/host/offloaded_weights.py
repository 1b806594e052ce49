"""Run inside ComfyUI's own Python: does the demo anchor compute with weights that the host left elsewhere?

Under --lowvram and --novram weights stay on the CPU and are cast for every call. Without a GPU, two things
show the same: weights in bfloat16 with inputs in float32 (the numbers), and inputs on the "meta" device,
where any weight that is not cast raises (the places). Prints one JSON object.
"""

from __future__ import annotations

import importlib.util
import json
import sys
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
def predict(body: Any, frames: int, device: str = "cpu") -> torch.Tensor:
    """One prediction for a window of `frames`."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator).to(device)  # noqa: E731
    pose = body.embed_pose(draw(frames, 3, 64, 64).sigmoid())
    latents = draw(1, frames, body.latent_channels, 8, 8)
    return body(
        latents, torch.tensor(500, device=device), draw(1, 17, body.appearance_width), pose[None], 1.0
    )


def offloaded_share(host: Any, body: Any, budget: float) -> float:
    """Share of the weights left on the CPU within `budget` bytes on the device; a prediction works then."""
    patcher = comfy.model_patcher.ModelPatcher(body, torch.device("meta"), torch.device("cpu"))
    patcher.partially_load(torch.device("meta"), budget)
    predict(body, 3, "meta")
    weights = list(body.parameters())
    return sum(weight.device.type == "cpu" for weight in weights) / len(weights)


def main() -> None:
    """Compare the managed networks with plain ones that hold the same rounded weights."""
    host = import_pack()
    from anchor_pack.anchor_core.anchor.file import load_anchor
    from anchor_pack.anchor_core.sgdm.vae import decode_frames

    def loaded() -> Any:
        anchor = load_anchor(host.anchor_path(host.DEMO))
        anchor.body.to(torch.bfloat16).float()
        anchor.vae.to(torch.bfloat16).float()
        return anchor

    plain, managed = loaded(), host.manage(loaded(), torch.float32)
    managed.body.to(torch.bfloat16)
    managed.vae.first_stage_model.to(torch.bfloat16)
    latents = torch.randn(3, plain.body.latent_channels, 8, 8)
    with torch.inference_mode():
        wanted = decode_frames(plain.vae, latents)
        # fp32 stays the type of the host's VAE: the weights alone are in another one.
        pixels = managed.vae.first_stage_model.decode(managed.unscaled(latents))
    got = (pixels.movedim(1, -1) / 2 + 0.5).clamp(0, 1)
    facts = {
        "stuck": stuck_layers(managed.body, host) + stuck_layers(managed.vae.first_stage_model, host),
        "body": max(float((predict(plain.body, n) - predict(managed.body, n)).abs().max()) for n in (1, 3)),
        "vae": float((wanted - got).abs().max()),
    }
    size = sum(weight.nbytes for weight in managed.body.parameters())
    facts["novram"] = offloaded_share(host, managed.body, 0.1)
    facts["lowvram"] = offloaded_share(host, managed.body, size / 2)
    print(json.dumps(facts))


main()
