"""`info` and `convert`: what a file is, and the published layout as one anchor file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .faces import read_face
from .film_options import anchor_with_parts
from .options import add_base_option, body_from

if TYPE_CHECKING:
    from ..anchor.card import AnchorCard


def add_commands(commands: Any) -> None:
    """Register `info` and `convert`."""
    info = commands.add_parser("info", help="say what an anchor file holds")
    info.add_argument("file", type=Path, help="anchor file")
    info.set_defaults(run=run_info)
    convert = commands.add_parser(
        "convert",
        help="turn a published folder (body/, head/) or a low-rank anchor into one whole anchor file",
    )
    convert.add_argument(
        "anchor",
        type=Path,
        metavar="FOLDER",
        help="folder with body/{unet,controlnet} and, for faces, head/{unet,controlnet}; or an anchor file",
    )
    add_base_option(convert)
    convert.add_argument("--name", help="name of the person (default: the folder's name)")
    convert.add_argument("--licence", help="licence of the weights")
    convert.add_argument("--consent", help="statement of the person's consent")
    convert.add_argument("--vae", type=Path, metavar="FILE", help="store this VAE inside")
    convert.add_argument(
        "--clip-vision", type=Path, metavar="FILE", help="store this CLIP vision model inside"
    )
    convert.add_argument(
        "--text-encoder", type=Path, metavar="FILE", help="store the empty prompt's tokens of it inside"
    )
    convert.add_argument(
        "--reference", type=Path, metavar="PNG", help="store this picture of the person inside"
    )
    convert.add_argument(
        "--face-reference",
        type=Path,
        metavar="PNG",
        help="store this aligned crop of the face, see face-crop",
    )
    convert.add_argument(
        "--trained-on",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="motions of the training videos (SHOW .pkl): the card learns camera, body shape and place, so "
        "that other motions sit where these did, and what the anchor has seen",
    )
    convert.add_argument(
        "--training-crop",
        type=float,
        nargs=4,
        metavar=("X", "Y", "W", "H"),
        help="part of the video that the training pictures show (default: the largest, around the person)",
    )
    convert.add_argument(
        "--body", type=Path, metavar="PATH", help="SMPL-X .npz of the training's meshes (default: stand-in)"
    )
    convert.add_argument("--out", type=Path, required=True, metavar="SAFETENSORS", help="file to write")
    convert.set_defaults(run=run_convert)


def run_info(args: argparse.Namespace) -> None:
    """Print the card, the names of the parts, and whether faces can be painted."""
    from ..anchor.file import read_card, read_link, read_parts
    from ..anchor.use import face_card

    card, parts = read_card(args.file), read_parts(args.file)
    facts = {**card.to_dict(), "parts": parts, "face_pass": _face_state(parts)}
    if link := read_link(args.file):
        facts["stands_on"] = {"name": link.name, "size": link.size, "sha256": link.sha256}
    facts["ranges"] = card.ranges and card.ranges.summary()
    if "face.unet" in parts:
        facts["face"] = face_card(card).to_dict()
    print(json.dumps(facts, indent=2, ensure_ascii=False))


def _face_state(parts: Sequence[str]) -> str:
    """What `demo` and `generate` do about faces."""
    if "face.unet" not in parts:
        return "none: there is no face network"
    if "face_reference" not in parts:
        return "not ready: store a crop of the face with convert --face-reference, or pass --face-appearance"
    return "ready"


def run_convert(args: argparse.Namespace) -> None:
    """Load the folder, add what the options name, save one file."""
    import torch

    from ..anchor.file import save_anchor
    from ..video.read import read_picture

    anchor = anchor_with_parts(args)
    stated = {"name": args.name, "licence": args.licence, "consent": args.consent}
    if args.text_encoder:
        stated["null_appearance"] = "stored"
    anchor.card = replace(anchor.card, **{key: value for key, value in stated.items() if value})
    if args.trained_on:
        anchor.card = _trained(anchor.card, args)
    for name, read in (("reference", read_picture), ("face_reference", read_face)):
        if path := getattr(args, name):
            setattr(anchor, name, torch.from_numpy(read(path)))
    save_anchor(anchor, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


def _trained(card: AnchorCard, args: argparse.Namespace) -> AnchorCard:
    """The card with what the motions of --trained-on say."""
    from ..anchor.trained import card_of_training
    from ..motion.read import read_motion

    motions = [read_motion(path) for path in args.trained_on]
    crop = tuple(args.training_crop) if args.training_crop else None
    return card_of_training(card, motions, body_from(args, motions[0].gender), crop)
