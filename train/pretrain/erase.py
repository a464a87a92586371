"""`python -m train.erase --checkpoint IN --data SHARDS --out OUT`: takes out of tokens what they must not tell.

Training makes it little, not nothing: a head that turns moves the lips' picture. What is left and linear can be taken
out in closed form with the least change to a token (LEACE, Belrose et al. 2023, arXiv 2306.03819), by maps that are
folded into the layers that read the prompts; inference costs the same. Vocal tokens lose the pose of the head, ambient
tokens the mouth's opening, identity tokens both and what vocal tokens say most of; in each case what tells of it from
clip to clip and what tells of its motion within one.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from synclip_core.checkpoint import load_checkpoint, save_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.faces.geometry import GEOMETRY_POINTS, REGION_POINTS
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.models.visual_encoder import AMBIENT, IDENTITY, VOCAL
from train.attributes.derived import mouth_opening
from train.attributes.eyes import head_pose
from train.data.clip import Clip
from train.data.sampling import ClipStore
from train.pretrain.prompts import plain_prompts

STRIDE = 2  # every second frame: neighbours say the same
LEADING = 4  # directions of the vocal tokens that identity tokens lose
TINY = 1e-6  # of the largest variance: directions below it are noise


class Seen(NamedTuple):
    """Frames of many clips: prompts [N, 3, width]; pose [N, 3], the head's turn, its height and how far it is turned to
    either side; mouth [N, 1], its opening over its width; clip [N], which clip it is."""

    prompts: Tensor
    pose: Tensor
    mouth: Tensor
    clip: Tensor


@torch.inference_mode()
def look(model: SyncLipMAE, clips: Iterable[Clip]) -> Seen:
    """What the model makes of clips that have landmarks. Raises SyncLipError where none has."""
    rows: list[list[Tensor]] = [[], [], [], []]
    for number, clip in enumerate(clips):
        kept = clip.valid.nonzero()[0][::STRIDE]
        if clip.landmarks is None or not len(kept):
            continue
        crops, regions = torch.from_numpy(clip.crops[kept]), torch.from_numpy(clip.regions()[kept]).float()
        rows[0].append(plain_prompts(model, crops, regions, clip.margin, identity=True))
        turn, height = head_pose(clip.landmarks[kept], REGION_POINTS).T
        rows[1].append(torch.from_numpy(np.stack([turn, height, turn**2], 1)))
        rows[2].append(torch.from_numpy(mouth_opening(clip.geometry[kept], GEOMETRY_POINTS))[:, None])
        rows[3].append(torch.full((len(kept),), number))
    if not rows[0]:
        raise SyncLipError("no clip has landmarks (compact shards leave them out); take those of train.prepare")
    prompts, pose, mouth, clip_of = (torch.cat(part) for part in rows)
    return Seen(prompts.double(), pose.double(), mouth.double(), clip_of)


class Map(NamedTuple):
    """x -> x @ matrix.T + shift."""

    matrix: Tensor
    shift: Tensor

    def of(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T + self.shift

    def after(self, first: "Map") -> "Map":
        return Map(self.matrix @ first.matrix, self.matrix @ first.shift + self.shift)


def whitening(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of the covariance of x [N, D]: W with W cov W = 1 on what varies, and its pseudo-inverse."""
    centered = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(x))
    kept = values > TINY * values.max()
    root = values.clamp_min(0).sqrt()
    inverse = torch.where(kept, 1 / root.clamp_min(1e-12), torch.zeros_like(root))
    return (vectors * inverse) @ vectors.T, (vectors * (root * kept)) @ vectors.T


def erasing(x: Tensor, concept: Tensor, clip: Tensor) -> Map:
    """LEACE: the map after which no linear reader finds `concept` [N, C] in x [N, D], with the least change; nor its
    motion in x's, each clip's mean taken out of both."""
    whole = _erasing(x, concept)
    left = whole.of(x)
    motion = _erasing(_within(left, clip), _within(concept, clip)).matrix
    mean = left.mean(0)
    return Map(motion, mean - motion @ mean).after(whole)


def _erasing(x: Tensor, concept: Tensor) -> Map:
    white, back = whitening(x)
    covariance = (x - x.mean(0)).T @ (concept - concept.mean(0)) / len(x)
    found = torch.linalg.svd(white @ covariance, full_matrices=False)
    directions = found.U[:, found.S > 1e-6 * found.S.max().clamp_min(1e-12)]
    removed = back @ directions @ directions.T @ white
    return Map(torch.eye(x.shape[1], dtype=x.dtype) - removed, removed @ x.mean(0))


def _within(x: Tensor, clip: Tensor) -> Tensor:
    """Each clip's mean taken out. x: [N, D]; clip: [N]."""
    _, place, counts = clip.unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(counts), x.shape[1], dtype=x.dtype).index_add_(0, place, x) / counts[:, None]
    return x - means[place]


@torch.no_grad()
def fold(layer: nn.Linear, change: Map) -> None:
    """`layer` reads what `change` makes of its input."""
    weight = layer.weight.double()
    layer.bias += (weight @ change.shift).to(layer.bias)
    layer.weight.copy_(weight @ change.matrix)


def readers(model: SyncLipMAE) -> Iterator[nn.Linear]:
    """The layers that read vocal prompts."""
    yield model.vocal_head.embed if model.config.vocal.context_depth else model.vocal_head.proj
    if model.has_context:
        yield model.vocal_context.embed


def erase(model: SyncLipMAE, seen: Seen) -> None:
    """Changes the model's layers in place."""
    vocal = seen.prompts[:, VOCAL]
    change = erasing(vocal, seen.pose, seen.clip)
    for layer in readers(model):
        fold(layer, change)
    with torch.inference_mode():
        said = leading(model.vocal_tokens(vocal.float()[:, None], context=False)[:, 0].double(), LEADING)
    unwanted = torch.cat([seen.mouth, seen.pose, said], 1)
    fold(model.identity_proj, erasing(seen.prompts[:, IDENTITY], unwanted, seen.clip))
    fold(model.ambient_proj, erasing(seen.prompts[:, AMBIENT], seen.mouth, seen.clip))


def leading(x: Tensor, count: int) -> Tensor:
    """[N, D] -> [N, count]: along the directions in which x varies most."""
    centered = x - x.mean(0)
    vectors = torch.linalg.eigh(centered.T @ centered).eigenvectors
    return centered @ vectors[:, -count:]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.erase", description=__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path, help="model.safetensors of a run")
    parser.add_argument("--data", required=True, help="shards of train.prepare, with landmarks; the training split")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--clips", type=int, default=400, help="how many clips to look at, evenly over the split")
    options = parser.parse_args(arguments)
    loaded = load_checkpoint(options.checkpoint)
    store = ClipStore(options.data, "train", 0.1)
    keys = list(store.meta)[:: max(1, len(store.meta) // options.clips)]
    erase(loaded.model, look(loaded.model, tqdm((store[key] for key in keys), "look", len(keys), disable=None)))
    save_checkpoint(options.out, loaded.model, loaded.metadata)
    return 0
