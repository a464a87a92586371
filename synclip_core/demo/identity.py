"""Who the rendered head is: proportions, colours and light, all drawn from one seed."""

from dataclasses import dataclass

import numpy as np

# Plausible skin tones from light to dark, linear-ish 0..1 RGB.
SKIN = np.array([[0.93, 0.76, 0.66], [0.88, 0.69, 0.57], [0.79, 0.58, 0.45], [0.64, 0.44, 0.33], [0.47, 0.31, 0.23]])
HAIR = np.array([[0.10, 0.08, 0.07], [0.22, 0.14, 0.09], [0.38, 0.25, 0.15], [0.62, 0.47, 0.28], [0.45, 0.43, 0.42]])
IRIS = np.array([[0.25, 0.15, 0.08], [0.30, 0.36, 0.25], [0.32, 0.43, 0.52]])


@dataclass(frozen=True)
class Identity:
    """Proportions are factors near 1; colours RGB in 0..1; light a unit vector (x right, y down, z to the viewer)."""

    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    shirt: np.ndarray
    background: np.ndarray
    light: np.ndarray
    face_width: float
    jaw_width: float
    chin: float
    nose: float
    eyes: float
    brows: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    hairline: float
    long_hair: float
    stubble: float
    texture_seed: int


def make_identity(seed: int) -> Identity:
    """The same seed gives the same person on every machine."""
    rng = np.random.default_rng(seed)
    tone = rng.uniform(0, len(SKIN) - 1.001)
    low = int(tone)
    skin = SKIN[low] + (SKIN[low + 1] - SKIN[low]) * (tone - low)
    lips = skin * np.array([0.86, 0.66, 0.66]) * rng.uniform(0.92, 1.05) + np.array([0.04, 0.0, 0.01])
    light = np.array([rng.uniform(-0.55, 0.55), rng.uniform(-0.75, -0.35), 1.0])
    long_hair = float(rng.random() < 0.5)
    return Identity(
        skin=skin.astype(np.float32),
        hair=(HAIR[rng.integers(0, 2 if tone > 2 else len(HAIR))] * rng.uniform(0.85, 1.15)).astype(np.float32),
        iris=IRIS[0 if tone > 2 else rng.integers(len(IRIS))].astype(np.float32),
        lips=np.clip(lips, 0, 1).astype(np.float32),
        shirt=rng.uniform(0.12, 0.75, 3).astype(np.float32),
        background=rng.uniform(0.25, 0.8, 3).astype(np.float32),
        light=(light / np.linalg.norm(light)).astype(np.float32),
        face_width=float(rng.uniform(0.93, 1.06)),
        jaw_width=float(rng.uniform(0.92, 1.08)),
        chin=float(rng.uniform(-0.02, 0.025)),
        nose=float(rng.uniform(0.85, 1.2)),
        eyes=float(rng.uniform(0.9, 1.12)),
        brows=float(rng.uniform(0.7, 1.4)),
        mouth_width=float(rng.uniform(0.92, 1.1)),
        upper_lip=float(rng.uniform(0.8, 1.3)),
        lower_lip=float(rng.uniform(0.85, 1.25)),
        hairline=float(rng.uniform(-0.07, 0.02)),
        long_hair=long_hair,
        stubble=0.0 if long_hair else float(rng.uniform(0.0, 0.5)),
        texture_seed=int(rng.integers(2**31)),
    )
