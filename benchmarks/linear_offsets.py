"""Each trusted clip's own offset by a linear map from sound to lip landmarks: a second opinion without the network.

    python -m benchmarks.linear_offsets --shards runs/data --splits val test > offsets.json

Ridge regression from log-mel frames within 8 frames of a tick to the 60 lip points of train.prepare, fitted on the
trusted clips of the train split. A clip's offset is where its points are predicted best when the sound is moved by
quarters of a frame; positive: the video lags, as everywhere. Given relative to the median of its split, since
landmarks of a frame and mel of a tick have a constant of their own. error: share of the points' motion not explained.
"""

import argparse
import json
import sys

import numpy as np
import torch

from synclip_core.models.audio.mel import MelFrontEnd
from train.data.clip import Clip
from train.data.sampling import ClipStore

QUARTERS = 4  # mel columns a tick
REACH = 8  # ticks of sound to each side
SEARCH = 24  # quarters of a tick to each side
RIDGE = 0.3


def mel_of(front_end: MelFrontEnd, clip: Clip) -> np.ndarray:
    """[T * 4, 40], normalised over the clip: every second band."""
    wave = torch.from_numpy(np.asarray(clip.audio, np.float32))[None]
    with torch.inference_mode():
        mel = front_end.normalise(front_end.log_mel(wave))[0].T.numpy()
    return mel[:, ::2]


def points_of(clip: Clip) -> np.ndarray:
    """[T, 120], the clip's mean shape taken off."""
    points = clip.geometry.reshape(len(clip.geometry), -1).astype(np.float64)
    return points - points[clip.valid].mean(0)


def rows(mel: np.ndarray, ticks: int, moved: int) -> np.ndarray:
    """[ticks, features]: the sound around each tick, moved by quarters of a tick; nothing beyond its ends."""
    index = QUARTERS * np.arange(ticks)[:, None] + moved + np.arange(-QUARTERS * REACH, QUARTERS * (REACH + 1), 2)
    inside = (index >= 0) & (index < len(mel))
    return (mel[index.clip(0, len(mel) - 1)] * inside[..., None]).reshape(ticks, -1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", default="runs/data")
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    parser.add_argument("--clips", type=int, default=260, help="to fit on")
    options = parser.parse_args()
    front_end = MelFrontEnd(80, QUARTERS, 16000, 25)
    store = ClipStore(options.shards, "train", 3.0)
    fit = [store[key] for key in trusted(store)[: options.clips]]
    x = np.concatenate([rows(mel_of(front_end, c), len(c.valid), 0)[c.valid] for c in fit])
    y = np.concatenate([points_of(c)[c.valid] for c in fit])
    mean = x.mean(0)
    x -= mean
    weights = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
    report: dict[str, object] = {"fitted_on": len(fit)}
    for split in options.splits:
        store = ClipStore(options.shards, split, 3.0)
        found = {}
        for key in trusted(store):
            clip = store[key]
            mel, points, valid = mel_of(front_end, clip), points_of(clip), clip.valid
            errors = []
            for moved in range(-SEARCH, SEARCH + 1):
                predicted = (rows(mel, len(valid), moved) - mean) @ weights
                rest = (points - predicted + predicted[valid].mean(0))[valid]
                errors.append(float((rest**2).sum() / (points[valid] ** 2).sum()))
            best = int(np.argmin(errors))
            found[clip.meta.get("file", key)] = ((SEARCH - best) * 40 / QUARTERS, round(errors[best], 3))
        middle = float(np.median([offset for offset, _ in found.values()]))
        table = {name: {"offset_ms": offset - middle, "error": error} for name, (offset, error) in found.items()}
        report[split] = dict(sorted(table.items(), key=lambda item: item[1]["offset_ms"]))
    print(json.dumps(report, indent=1))
    return 0


def trusted(store: ClipStore) -> list[str]:
    return [key for key in sorted(store.meta) if store.meta[key]["sync"] == "trusted"]


if __name__ == "__main__":
    sys.exit(main())
