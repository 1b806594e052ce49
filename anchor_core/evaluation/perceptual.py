"""How near single frames are to the truth: PSNR, SSIM (Wang et al. 2004), LPIPS (Zhang et al. 2018)."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import torch

from ..errors import AnchorError
from .meter import Pair
from .metrics import decibel, ssim
from .report import Curve, Measurement, left_out
from .weights import PublishedWeights, read_weights

_SSIM_SIDE = 11
LPIPS_TRUNKS = {
    "alex": PublishedWeights("AlexNet of torchvision", ("7be5be79", "4df8aa71")),
    "vgg": PublishedWeights("VGG-16 of torchvision", ("397923af",)),
}
"""The networks that LPIPS stands on, with the first digits of their published sha256."""


class PictureMeter:
    """PSNR over the clip, on the person, and SSIM."""

    def __init__(self) -> None:
        self._squares: list[float] = []
        self._ssim: list[float] = []
        self._person, self._person_pixels = 0.0, 0

    def add(self, pair: Pair) -> None:
        """Look at one frame."""
        square = (pair.result.double() - pair.truth.double()).square().mean(dim=-1)
        self._squares.append(float(square.mean()))
        if pair.person is not None:
            self._person += float(square[pair.person].sum())
            self._person_pixels += int(pair.person.sum())
        if min(square.shape) >= _SSIM_SIDE:
            self._ssim.append(ssim(pair.result[None], pair.truth[None], _SSIM_SIDE))

    def last_psnr(self) -> float:
        """dB of the newest frame."""
        return decibel(self._squares[-1])

    def measurements(self) -> list[Measurement]:
        """PSNR, PSNR on the person, SSIM."""
        whole = Measurement("psnr", decibel(_mean(self._squares)))
        return [whole, *self._on_person(), *self._structure()]

    def _on_person(self) -> list[Measurement]:
        if not self._person_pixels:
            return left_out("no mesh shows where the person is (--motion or --dataset)", "psnr_person")
        return [Measurement("psnr_person", decibel(self._person / self._person_pixels))]

    def _structure(self) -> list[Measurement]:
        if not self._ssim:
            return left_out(f"frames are smaller than {_SSIM_SIDE} pixels", "ssim")
        return [Measurement("ssim", _mean(self._ssim))]

    def curves(self) -> dict[str, Curve]:
        """PSNR and SSIM of each frame."""
        psnr = {"": [decibel(square) for square in self._squares]}
        found = {"psnr": Curve("PSNR of each frame", "dB", psnr)}
        if self._ssim:
            found["ssim"] = Curve("SSIM of each frame", "", {"": self._ssim})
        return found


class LpipsMeter:
    """Learned perceptual distance, with the linear layers that the package brings."""

    def __init__(self, weights: Path | None, device: torch.device) -> None:
        self._device = device
        self._values: list[float] = []
        self._network: Any = None
        if weights is not None:
            network, self._note = load_lpips(weights)
            self._network = network.to(device)

    @torch.no_grad()
    def add(self, pair: Pair) -> None:
        """Look at one frame."""
        if self._network is None:
            return
        one, two = (
            frame.permute(2, 0, 1)[None].to(self._device) * 2 - 1 for frame in (pair.result, pair.truth)
        )
        self._values.append(float(self._network(one, two)))

    def measurements(self) -> list[Measurement]:
        """LPIPS, mean over frames."""
        if self._network is None:
            return left_out("no weights given (--lpips FILE)", "lpips")
        note = "; ".join(filter(None, (f"on {self._network.pnet_type}", self._note)))
        return [Measurement("lpips", _mean(self._values), note)]

    def curves(self) -> dict[str, Curve]:
        """LPIPS of each frame."""
        return {"lpips": Curve("LPIPS of each frame", "", {"": self._values})} if self._values else {}


def load_lpips(weights: Path) -> tuple[Any, str]:
    """LPIPS on the trunk in `weights` (AlexNet or VGG-16 of torchvision), and a note where it is unknown.

    Raises AnchorError where the package is missing or the file is another network's.
    """
    try:
        import lpips
    except ImportError:
        raise AnchorError("LPIPS needs the package lpips: install it with: pip install lpips") from None
    tensors = read_weights(weights)
    features = {name: tensor for name, tensor in tensors.items() if name.startswith("features.")}
    first = list(features["features.0.weight"].shape) if "features.0.weight" in features else []
    kind = {"[64, 3, 11, 11]": "alex", "[64, 3, 3, 3]": "vgg"}.get(str(first))
    if kind is None:
        raise AnchorError(
            f"{weights.name} is neither the AlexNet nor the VGG-16 of torchvision that LPIPS stands on:"
            " give alexnet-owt-7be5be79.pth or vgg16-397923af.pth"
        )
    with warnings.catch_warnings():  # it builds the trunk with words that torchvision has since replaced
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=kind, pnet_rand=True, verbose=False)
    _fill_trunk(network, features, weights.name)
    return network.eval().requires_grad_(False), LPIPS_TRUNKS[kind].note(weights)


def _fill_trunk(network: Any, features: dict[str, torch.Tensor], name: str) -> None:
    """The package splits the layers into slices and keeps their numbers: net.slice2.3 is features.3."""
    own = {
        f"features.{'.'.join(key.split('.')[1:])}": key
        for key in network.net.state_dict()
        if key.startswith("slice")
    }
    state = {key: features[given] for given, key in own.items() if given in features}
    try:
        if len(state) != len(own):
            raise RuntimeError(f"{len(own) - len(state)} tensors are missing")
        network.net.load_state_dict(state)
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise AnchorError(f"{name} does not fit the trunk of LPIPS ({why}): download it again") from None


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
