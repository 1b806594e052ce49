"""`info` and `convert`: what a file is, and the published layout as one anchor file."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from .generate import anchor_with_parts


def add_commands(commands: Any) -> None:
    """Register `info` and `convert`."""
    info = commands.add_parser("info", help="say what an anchor file holds")
    info.add_argument("file", type=Path, help="anchor file")
    info.set_defaults(run=run_info)
    convert = commands.add_parser(
        "convert", help="turn a published folder (body/, head/) into one anchor file"
    )
    convert.add_argument("anchor", type=Path, metavar="FOLDER", help="folder with body/{unet,controlnet}")
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
    convert.add_argument("--out", type=Path, required=True, metavar="SAFETENSORS", help="file to write")
    convert.set_defaults(run=run_convert)


def run_info(args: argparse.Namespace) -> None:
    """Print the card and the names of the parts."""
    from ..anchor.file import read_card, read_parts

    facts = {**read_card(args.file).to_dict(), "parts": read_parts(args.file)}
    print(json.dumps(facts, indent=2, ensure_ascii=False))


def run_convert(args: argparse.Namespace) -> None:
    """Load the folder, add what the options name, save one file."""
    from ..anchor.file import save_anchor

    anchor = anchor_with_parts(args)
    stated = {"name": args.name, "licence": args.licence, "consent": args.consent}
    if args.text_encoder:
        stated["null_appearance"] = "stored"
    anchor.card = replace(anchor.card, **{key: value for key, value in stated.items() if value})
    save_anchor(anchor, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
