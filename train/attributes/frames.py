"""Samples of single frames with derived labels, from a folder with clips.csv."""

from pathlib import Path

from tqdm import tqdm

from synclip_core.errors import SyncLipError
from train.evaluate.clips import SEEN, Clip, read_clips

from .derived import GROUPS, derive, read_words
from .features import FeatureCache
from .samples import SOURCES, Builder, Samples

STRIDE = 2  # neighbours at 40 ms say the same


def frame_samples(
    data: Path, split: str, cache: FeatureCache, limit: int = 0, stride: int = STRIDE, exclude: Path | None = None
) -> Samples:
    """Every `stride`-th frame with a face of the clips of a split. limit: at most so many clips of the GRID speaker,
    evenly over the list, since one speaker's thousand clips say what two hundred say; 0: all."""
    clips, left_out = read_clips(data, split, exclude)
    words = read_words(data)
    builder, refused = Builder(GROUPS), {row["file"]: row["reason"] for row in left_out}
    for clip in tqdm(thinned(clips, limit), desc=f"{split} features", unit="video", disable=None):
        try:
            features = cache.get(clip.path)
        except SyncLipError as error:
            refused[clip.file] = str(error)
            continue
        rows = features.valid.nonzero()[0][::stride]
        truth = derive(features, words.get(clip.path.name) if clip.file.startswith("grid_s1/") else None)
        builder.add(
            {name: source(features)[rows] for name, source in SOURCES.items()},
            {name: values[rows] for name, values in truth.items()},
            clip.subset,
        )
    return builder.samples(refused)


def thinned(clips: list[Clip], limit: int) -> list[Clip]:
    """At most `limit` clips of the seen speaker, evenly over the list; all others."""
    seen = [clip for clip in clips if clip.subset == SEEN]
    if not limit or len(seen) <= limit:
        return clips
    kept = {seen[i * len(seen) // limit].file for i in range(limit)}
    return [clip for clip in clips if clip.subset != SEEN or clip.file in kept]
