"""Sync tables on the validation shards while training: quick, on whole samples, with the averaged weights."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from synclip_core.metrics.distance import best_lag, distance_curve
from synclip_core.metrics.r_precision import mixed
from synclip_core.metrics.window_lag import WindowLag, window_lag
from synclip_core.models.synclipmae import SyncLipMAE, normalise
from train.data.clip import Clip
from train.data.noise import Noise
from train.data.sampling import ClipStore
from train.pretrain.prompts import PLAIN, clip_prompts


class Judged(NamedTuple):
    """audio, vocal: [T, dim] tokens of a clip; valid: bool [T]; truth: its lag in frames."""

    audio: np.ndarray
    vocal: np.ndarray
    valid: np.ndarray
    truth: int = 0


@torch.inference_mode()
def clip_tokens(model: SyncLipMAE, clip: Clip, context: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Normalised audio and vocal tokens [T, dim] of a training sample, cut as inference cuts it."""
    device = model.logit_scale.device
    prompts = clip_prompts(model, clip, PLAIN, Noise([0]))[None]
    vocal = model.vocal_tokens(prompts, torch.from_numpy(clip.valid)[None].to(device), context)
    audio = model.audio_tokens(torch.from_numpy(clip.audio)[None].to(device), context)
    return tuple(normalise(tokens)[0].float().cpu().numpy() for tokens in (audio, vocal))  # type: ignore[return-value]


def without_ends(valid: np.ndarray, reach: int) -> np.ndarray:
    """valid: bool [T]. The frames whose context lies inside the clip: what an end does to a token never counts."""
    inner = valid.copy()
    if reach and len(inner) > 2 * reach + 15:
        inner[:reach] = inner[-reach:] = False
    return inner


def validate(model: SyncLipMAE, stores: dict[str, ClipStore], limit: int = 40, seed: int = 0) -> dict[str, Any]:
    """Acc@K and R@1 by group. Unchecked clips are judged against their own offset from `train.prepare`."""
    was_training = model.training
    model.eval()
    groups: dict[str, list[Judged]] = defaultdict(list)
    for name, store in stores.items():
        keys = sorted(k for k, m in store.meta.items() if m["frames"] >= 50)
        for key in np.random.default_rng(seed).permutation(keys)[:limit]:
            clip = store[str(key)]
            group = "trusted" if clip.meta["sync"] == "trusted" else "unchecked"
            truth = int(clip.meta.get("offset", 0))
            for context in (True, False) if model.has_context else (True,):
                kind = "" if context else " single frame"
                inner = without_ends(clip.valid, max(model.config.reach(context)))
                groups[f"{name}/{group}{kind}"].append(Judged(*clip_tokens(model, clip, context), inner, truth))
    model.train(was_training)
    return {name: {"clips": len(items), **sync_figures(items, seed)} for name, items in groups.items()}


def sync_figures(items: Sequence[Judged], seed: int = 0) -> dict[str, float]:
    """Acc@K, R@1..3 (mixed) and clip lag of whole clips in percent, Offset@K in frames."""
    totals = {k: WindowLag() for k in (1, 5, 15)}
    near = []
    for item in items:
        for window, result in window_lag(item.audio, item.vocal, item.truth, valid=item.valid).items():
            totals[window] += result
        lag = best_lag(distance_curve(item.audio, item.vocal, valid=item.valid))
        near.append(lag is not None and abs(lag - item.truth) <= 1)
    ranks = mixed([(item.audio, item.vocal, item.valid) for item in items], np.random.default_rng(seed))
    queries = max(1, sum(r.queries for r in ranks))
    return {
        **{f"acc@{k}": round(100 * (t.acc or 0), 1) for k, t in totals.items()},
        **{f"offset@{k}": round(t.offset or 0, 2) for k, t in totals.items()},
        **{f"r@{k + 1}": round(100 * sum(r.hits[k] for r in ranks) / queries, 1) for k in range(3)},
        "clip_lag": round(100 * float(np.mean(near)), 1),
    }
