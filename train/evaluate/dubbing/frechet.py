"""Frechet distance between the looks, and between the motion, of two sets of videos (evaluation.md: FID, FVD).

FID (Heusel et al. 2017) asks Inception's features and FVD those of I3D; here the tokens of an embedding of faces
answer, so the numbers compare with others of the same embedding only, and with no published FID or FVD.
"""

from collections.abc import Sequence

import numpy as np

from synclip_core.tokens.streams import TokenStreams

CLIP = 16  # frames, as FVD has it


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of two Gaussians with the means and covariances of a: [n, D] and b: [m, D]; NaN for fewer than two rows.

    |mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)). With factors A = F'F and B = G'G the last trace is the sum of the
    singular values of F G': nothing is inverted, so fewer rows than features give no error but a bias. Few draws of one
    distribution lie some way apart, which the distance of two halves of one set shows.
    """
    if min(len(a), len(b)) < 2:
        return float("nan")
    f, g = _factor(a), _factor(b)
    apart = ((a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)) ** 2).sum()
    overlap = np.linalg.svd(f @ g.T, compute_uv=False).sum()
    return max(0.0, float(apart + (f**2).sum() + (g**2).sum() - 2 * overlap))


def _factor(rows: np.ndarray) -> np.ndarray:
    """[min(n, D), D], whose F'F is the covariance."""
    rows = rows.astype(np.float64)
    return np.asarray(np.linalg.qr((rows - rows.mean(0)) / np.sqrt(len(rows) - 1), mode="r"))


def frame_features(clips: Sequence[np.ndarray]) -> np.ndarray:
    """clips: as `face_clips` cuts them. Every frame by itself, [n, D]."""
    return np.concatenate(clips) if clips else np.zeros((0, 1))


def motion_features(clips: Sequence[np.ndarray]) -> np.ndarray:
    """clips: as `face_clips` cuts them. [n, 2 D]: how far each feature goes from its mean over the clip, and how far
    from one frame to the next. The mean itself would drown them, and `frame_features` tell it already."""
    rows = [np.concatenate([clip.std(0), np.sqrt((np.diff(clip, axis=0) ** 2).mean(0))]) for clip in clips]
    return np.stack(rows) if rows else np.zeros((0, 1))


def face_clips(tokens: TokenStreams) -> list[np.ndarray]:
    """[CLIP, D] each: stretches that show the face throughout, one after the other.

    Identity and ambient tokens and, as the vocal token itself looks along the video, the prompt that it is made of: all
    of a single frame, none normalised.
    """
    rows = np.concatenate([tokens.identity, tokens.prompts, tokens.ambient], 1)
    starts = range(0, len(rows) - CLIP + 1, CLIP)
    return [rows[at : at + CLIP] for at in starts if tokens.valid[at : at + CLIP].all()]
