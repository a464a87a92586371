"""Where a face lies: the canonical face square that training and inference share.

The canonical square is the unit square with the outer eye corners 0.45 apart at height 0.33, the mouth near (0.5, 0.69)
and the chin near 0.92. A similarity transform (scale, rotation, translation) fitted to points of the mesh that speech
does not move carries it into the image, so the head is still and only the face moves inside the crop.
"""

import numpy as np

# Indices into the 468-point face mesh that speech leaves in place, and their canonical positions: the median over
# frontal frames of the training clips, mirrored and averaged.
RIGID_POINTS = np.array([33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 127, 356, 98, 327, 10, 151, 9])
RIGID_TEMPLATE = np.array(
    [
        [0.2750, 0.3300],
        [0.4132, 0.3381],
        [0.5868, 0.3381],
        [0.7250, 0.3300],
        [0.5000, 0.3052],
        [0.5000, 0.3466],
        [0.5000, 0.3840],
        [0.5000, 0.4182],
        [0.5000, 0.4557],
        [0.5000, 0.5011],
        [0.1444, 0.3526],
        [0.8556, 0.3526],
        [0.4124, 0.5550],
        [0.5876, 0.5550],
        [0.5000, 0.0504],
        [0.5000, 0.1332],
        [0.5000, 0.2181],
    ],
    dtype=np.float64,
)


# fmt: off
# Points whose motion is the motion of speech: 40 on the lips, 20 on chin, jaw and beside the mouth; the training
# target of
# the geometry head. GEOMETRY_MIRROR[i] is the place in this list of the point that a mirrored image has at place i.
GEOMETRY_POINTS = np.array(
    [
        61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 308, 324, 318, 402, 317, 14, 87, 178, 88,
        95, 185, 40, 39, 37, 0, 267, 269, 270, 409, 415, 310, 311, 312, 13, 82, 81, 42, 183, 78,
        152, 148, 176, 149, 150, 136, 172, 377, 400, 378, 379, 365, 397, 200, 199, 18, 313, 83, 57, 287,
    ]
)
GEOMETRY_MIRROR = np.array(
    [
        10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 39, 20, 19, 18, 17, 16, 15, 14, 13,
        12, 29, 28, 27, 26, 25, 24, 23, 22, 21, 38, 37, 36, 35, 34, 33, 32, 31, 30, 11,
        40, 47, 48, 49, 50, 51, 52, 41, 42, 43, 44, 45, 46, 53, 54, 55, 57, 56, 59, 58,
    ]
)
# Points that say where the parts of a face are and how they move, beside GEOMETRY_POINTS: eyes (16 each), brows (10
# each), nose and the oval. The first of each pair is on the left in an upright picture.
REGION_POINTS = np.array(
    [
        33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
        263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
        70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276,
        1, 4, 5, 6, 168, 2, 98, 327, 48, 278,
        10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
    ]
)
# fmt: on


# Parts of a face that masking knows (models/masking.py), in this order, each the box of some landmarks.
REGIONS = ("face", "left eye and brow", "right eye and brow", "mouth", "lower face")
# What stands for a face whose landmarks are not at hand: the median of the median boxes of 1,270 training samples,
# mirrored and averaged.
TEMPLATE_REGIONS = np.array(
    [
        [0.148, 0.057, 0.852, 0.910],
        [0.213, 0.201, 0.436, 0.347],
        [0.564, 0.201, 0.787, 0.347],
        [0.370, 0.648, 0.630, 0.750],
        [0.220, 0.572, 0.780, 0.910],
    ],
    np.float32,
)
_LEFT, _RIGHT, _OVAL = np.r_[0:16, 32:42], np.r_[16:32, 42:52], np.r_[62:98]  # of REGION_POINTS


def face_regions(lips: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """lips: [..., 60, 2] GEOMETRY_POINTS; regions: [..., 98, 2] REGION_POINTS. Returns boxes [..., 5, 4] of REGIONS
    (x0, y0, x1, y1) in the same coordinates."""
    lower = np.concatenate([lips, regions[..., 57:58, :]], -2)  # from under the nose down
    parts = (regions[..., _OVAL, :], regions[..., _LEFT, :], regions[..., _RIGHT, :], lips[..., :40, :], lower)
    return np.stack([np.concatenate([p.min(-2), p.max(-2)], -1) for p in parts], -2)


def frame_regions(landmarks: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """landmarks: [T, 468, 2+] px; transforms: [T, 2, 3], canonical square -> px. Returns float32 [T, 5, 4] canonical
    boxes of REGIONS."""
    points = apply(invert(transforms), landmarks[..., :2])
    return face_regions(points[:, GEOMETRY_POINTS], points[:, REGION_POINTS]).astype(np.float32)


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity transforms (Umeyama 1991 without reflection), one a frame.

    source: [..., P, 2]; target: [..., P, 2]. Returns [..., 2, 3] with target ~= M[:, :2] @ source + M[:, 2].
    """
    source, target = np.broadcast_arrays(np.asarray(source, np.float64), np.asarray(target, np.float64))
    mean_s, mean_t = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    s, t = source - mean_s, target - mean_t
    norm = np.maximum((s**2).sum((-1, -2)), 1e-12)
    a = (s * t).sum((-1, -2)) / norm
    b = (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0]).sum(-1) / norm
    rotation = np.stack([np.stack([a, -b], -1), np.stack([b, a], -1)], -2)
    shift = mean_t[..., 0, :] - np.einsum("...ij,...j->...i", rotation, mean_s[..., 0, :])
    return np.concatenate([rotation, shift[..., None]], -1)


def face_transform(landmarks: np.ndarray) -> np.ndarray:
    """landmarks: [..., 468+, 2+] in pixels. Returns [..., 2, 3]: canonical unit square -> pixels."""
    return fit_similarity(RIGID_TEMPLATE, landmarks[..., RIGID_POINTS, :2])


def smooth_transforms(transforms: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """Gaussian smoothing in time of [T, 2, 3] transforms; sigma in frames, edges renormalised.

    Takes the detector's jitter out of the crop without lagging behind the head.
    """
    if sigma <= 0 or len(transforms) < 2:
        return transforms
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    flat = transforms.reshape(len(transforms), -1)
    padded = np.pad(flat, ((radius, radius), (0, 0)))
    weight = np.pad(np.ones(len(flat)), radius)
    total = np.convolve(weight, kernel, "valid")
    columns = [np.convolve(padded[:, c], kernel, "valid") / total for c in range(flat.shape[1])]
    return np.stack(columns, 1).reshape(transforms.shape)


def invert(transforms: np.ndarray) -> np.ndarray:
    """Inverse of [..., 2, 3] affine transforms."""
    linear = np.linalg.inv(transforms[..., :2])
    return np.concatenate([linear, -linear @ transforms[..., 2:]], -1)


def apply(transforms: np.ndarray, points: np.ndarray) -> np.ndarray:
    """transforms: [..., 2, 3], points: [..., P, 2] -> [..., P, 2]."""
    return np.einsum("...ij,...pj->...pi", transforms[..., :2], points) + transforms[..., None, :, 2]
