"""A training as one TOML file: what is learned, from which data, from where, how, and where it goes.

    stage = "body"                      # or "face"
    name = "Seth"
    out = "seth.safetensors"
    [data]
    sets = ["datasets/seth"]
    [start]
    networks = "pretrained.safetensors"
    [train]
    steps = 50000

`[train]` holds the fields of `SGDMConfig`. Whatever is left out comes from a preset (`presets.py`). Unknown
keys and wrong types are refused by name. Paths count from the folder of the file.
"""

from __future__ import annotations

import difflib
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import AnchorError
from ..files import check_writable
from .config import SGDMConfig, check_range, check_word

Stage = Literal["body", "face"]
Mode = Literal["finetune", "pretrain"]
Table = Mapping[str, Any]

TINY = "tiny"
"""Instead of a path in [start]: random networks of a few kilobytes, to try a configuration."""
COMPUTED = ("dataset_hash",)
"""Fields of SGDMConfig that follow from the rest."""
AUTO = "auto"


@dataclass(frozen=True)
class DataSource:
    """sets: dataset folders of `prepare`, or JSON-lines manifests, also of the published scripts; several are
    learned together. held_out: a manifest for the pictures that are made while it trains, by default the
    folder's own. size: side of the trained pictures, pixels, others are squashed; 0 takes that of the
    dataset, else the published one (512, face 256). cache: of latents and tokens, by default in `folder`.
    """

    sets: tuple[Path, ...]
    held_out: Path | None = None
    size: int = 0
    cache: Path | None = None

    def __post_init__(self) -> None:
        if not self.sets:
            raise AnchorError("data.sets is empty; need a dataset folder or a manifest at least; name one")
        if self.size:
            check_range("data.size", self.size, 16, 4096)
        if self.size % 8:
            raise AnchorError(f"data.size is {self.size}; need a multiple of 8; change it")


@dataclass(frozen=True)
class StartPoint:
    """networks: an anchor file, a published folder, a checkpoint or folder of Stable Diffusion 1.5 (for the
    face its inpainting model), or "tiny". vae, clip_vision, text_encoder: files for what `networks` does not
    hold. into: an anchor file whose other stage is kept in the result.
    """

    networks: Path
    vae: Path | None = None
    clip_vision: Path | None = None
    text_encoder: Path | None = None
    into: Path | None = None

    @property
    def is_tiny(self) -> bool:
        """Whether random networks are asked for."""
        return self.networks == Path(TINY)


@dataclass(frozen=True)
class Monitor:
    """every: steps between two looks at held-out samples, 0 for none; unless it is said, there are five looks
    at least. samples: how many are made.
    tensorboard: write there too, where it is installed."""

    every: int = 1000
    samples: int = 4
    tensorboard: bool = True

    def __post_init__(self) -> None:
        check_range("monitor.every", self.every, 0, 10**9)
        check_range("monitor.samples", self.samples, 1, 64)


@dataclass(frozen=True)
class TrainingJob:
    """All of a training. stage: network that is learned. mode: `finetune` on one person, or `pretrain` on
    several. folder: of checkpoints, logs and pictures. licence, consent: statements for the anchor's card.
    command: how it was asked for, for the card.
    """

    stage: Stage
    mode: Mode
    name: str
    out: Path
    folder: Path
    data: DataSource
    start: StartPoint
    train: SGDMConfig
    monitor: Monitor = field(default_factory=Monitor)
    licence: str = ""
    consent: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        check_word("stage", self.stage, Stage)
        check_word("mode", self.mode, Mode)
        if not self.name.strip():
            raise AnchorError("name is empty; need the name of the person; give one")
        if self.out.suffix.lower() != ".safetensors":
            raise AnchorError(
                f"out is {self.out.name}; an anchor is a .safetensors file; change the ending of the name"
            )
        check_writable(self.out)
        check_writable(self.folder / "checkpoint.pt")


def read_job(path: Path, preset: str | None = None, settings: Sequence[str] = ()) -> TrainingJob:
    """The job of a TOML file.

    preset: a name of `presets.PRESETS` that replaces the file's. settings: "train.steps=300", ... replace
    what the file says; their paths count from the working directory. Raises AnchorError that names the key.
    """
    if not path.is_file():
        raise AnchorError(
            f"there is no configuration {path}; name a .toml file, or write one with train --write-config"
        )
    toml = _toml()
    try:
        table = toml.loads(path.read_text(encoding="utf-8-sig"))  # Notepad writes a mark
    except (toml.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AnchorError(
            f"{path} is no TOML ({error}); texts stand in quotes, numbers do not; correct it"
        ) from None
    given = _merged(table, _overrides(settings))
    if preset:
        given["preset"] = preset
    return job_from(given, path.parent, command=f"python -m anchor_core train {path.name}")


def job_from(given: Table, base: Path | None = None, command: str = "") -> TrainingJob:
    """The job of nested tables as the TOML file has them.

    base: folder that relative paths count from, by default the working directory.
    """
    from .presets import preset_values

    top = dict(given)
    stage, mode = str(top.get("stage", "body")), str(top.get("mode", "finetune"))
    check_word("stage", stage, Stage)
    check_word("mode", mode, Mode)
    train = {**preset_values(str(top.pop("preset", "")), stage, mode), **_table(top, "train")}
    base = base or Path()
    _check_keys(train, SGDMConfig, "train.", COMPUTED)
    tables = {
        "data": _build(DataSource, _table(top, "data"), "data.", base),
        "start": _build(StartPoint, _table(top, "start"), "start.", base),
        "train": _build(SGDMConfig, train, "train.", base),
    }
    looks = {"every": min(Monitor.every, max(1, tables["train"].steps // 5)), **_table(top, "monitor")}
    tables["monitor"] = _build(Monitor, looks, "monitor.", base)
    rest = {key: value for key, value in top.items() if key not in tables}
    _check_keys(rest, TrainingJob, "", (*tables, "command"), further=("preset", *tables))
    rest = {"stage": stage, "mode": mode, **rest}
    if "folder" not in rest and isinstance(rest.get("out"), str):
        rest["folder"] = str(Path(rest["out"]).with_suffix("")) + f"_{stage}"
    return _build(TrainingJob, rest, "", base, {**tables, "command": command})


def _build(cls: Any, values: Table, where: str, base: Path, built: Table | None = None) -> Any:
    """A dataclass of checked values; `built` are fields that need no conversion."""
    built = built or {}
    _check_keys(values, cls, where, COMPUTED if cls is SGDMConfig else tuple(built))
    missing = [f.name for f in fields(cls) if _is_required(f) and f.name not in (*values, *built)]
    if missing:
        raise AnchorError(
            f"the configuration has no {where}{missing[0]}; it is needed; add it (train --write-config"
            " shows how)"
        )
    hints = get_type_hints(cls)
    ready = {key: _converted(value, hints[key], where + key, base) for key, value in values.items()}
    return cls(**ready, **built)


def _is_required(f: Any) -> bool:
    from dataclasses import MISSING

    return f.default is MISSING and f.default_factory is MISSING


def _table(top: Table, key: str) -> Table:
    table = top.get(key, {})
    if not isinstance(table, Mapping):
        raise AnchorError(f"{key} is {table!r}; need a table; write [{key}] and its keys below")
    return table


def _check_keys(
    values: Table, cls: Any, where: str, hidden: Sequence[str] = (), further: Sequence[str] = ()
) -> None:
    known = [f.name for f in fields(cls) if f.name not in hidden] + list(further)
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {where}{close[0]}?" if close else f"known are {', '.join(known)}"
            if not where and key in {f.name for f in fields(SGDMConfig)}:
                hint = f"did you mean train.{key}?"
            raise AnchorError(f"{where}{key} is no key of the configuration; {hint} Correct or remove it")


def _converted(value: Any, hint: Any, key: str, base: Path) -> Any:
    """A TOML value as the field wants it; AnchorError for another kind."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if get_origin(hint) in (Union, types.UnionType):
        # "" stands for nothing: TOML has no word for it.
        return None if value == "" else _converted(value, kinds[0], key, base)
    if get_origin(hint) is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        if kinds[-1] is not Ellipsis and len(items) != len(kinds):
            raise AnchorError(f"{key} is {value!r}; need {len(kinds)} values; write [a, b]")
        return tuple(_converted(item, kinds[0], key, base) for item in items)
    if get_origin(hint) is Literal:
        return value  # checked by the dataclass
    good, needed = _fits(value, hint)
    if not good:
        raise AnchorError(f"{key} is {value!r}; need {needed}; correct it")
    if hint is Path:
        return Path(value) if value == TINY else base / value
    return hint(value)


def _fits(value: Any, kind: type) -> tuple[bool, str]:
    if kind is bool:
        return isinstance(value, bool), "true or false"
    if kind is int:
        return type(value) is int, "a whole number"
    if kind is float:
        return type(value) in (int, float), "a number"
    return isinstance(value, (str, Path)), "text in quotes" if kind is str else "a path in quotes"


def _overrides(settings: Sequence[str]) -> dict[str, Any]:
    """{"train": {"steps": 300}} of ["train.steps=300"]."""
    tables: dict[str, Any] = {}
    for setting in settings:
        name, sign, text = setting.partition("=")
        *parents, key = name.strip().split(".")
        if not sign or not key or len(parents) > 1:
            raise AnchorError(f"--set {setting} is no setting; need table.key=value, as train.steps=300")
        place = tables.setdefault(parents[0], {}) if parents else tables
        if not isinstance(place, dict):
            raise AnchorError(f"--set {setting} meets a value where a table is needed; remove one of the two")
        place[key] = _from_here(name.strip(), _value(text))
    return tables


def _value(text: str) -> Any:
    """A value as TOML writes it; what is none is taken as text, so that quotes can be left out."""
    toml = _toml()
    try:
        return toml.loads(f"x = {text}")["x"]
    except toml.TOMLDecodeError:
        return text.strip()


def _toml() -> Any:
    """The reader of TOML; imported here, for Python 3.10 has none and the nodes need none."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib


def _from_here(name: str, value: Any) -> Any:
    """Paths of the command line count from the working directory, not from the folder of the file."""
    path_keys = {"out", "folder"} | {f"data.{k}" for k in ("sets", "held_out", "cache")}
    path_keys |= {f"start.{f.name}" for f in fields(StartPoint)}
    if name not in path_keys or value in ("", TINY):
        return value
    if isinstance(value, list):
        return [str(Path(item).absolute()) for item in value]
    return str(Path(str(value)).absolute())


def _merged(table: Table, over: Table) -> dict[str, Any]:
    merged = dict(table)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
