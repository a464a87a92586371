"""The mouth of the rendered head: its shape in a few numbers, its curves, its relief and its paint.

Lengths are in the canonical face square (faces/geometry.py): outer eye corners 0.45 apart, so 0.01 is about 2 mm. x is
measured from the middle of the face, y grows downwards.
"""

from dataclasses import dataclass

import numpy as np

from .identity import Identity
from .painting import below, blend, bump, smoothstep

REST_Y = 0.683  # where closed lips meet
REST_HALF_WIDTH = 0.128


@dataclass(frozen=True)
class MouthShape:
    """One moment of the mouth.

    opening: gap between the lips, 0 (closed) .. 0.13. spread: -1 (pursed) .. 1 (wide). rounding: protrusion, 0..1.
    press: lips rolled in, 0..1. tuck: lower lip against the upper teeth (f, v), 0..1. tongue: tip raised, 0..1.
    """

    opening: float = 0.0
    spread: float = 0.0
    rounding: float = 0.0
    press: float = 0.0
    tuck: float = 0.0
    tongue: float = 0.0

    @property
    def jaw(self) -> float:
        """How far the chin drops; lips alone do the first few millimetres."""
        return 0.62 * max(0.0, self.opening - 0.008) + 0.004 * self.tuck


class MouthCurves:
    """The four lip lines over the columns of the picture.

    x: any shape, canonical. Attributes upper_outer, upper_inner, lower_inner, lower_outer: y of each line, same shape;
    inside: 1 between the corners of the mouth.
    """

    def __init__(self, shape: MouthShape, identity: Identity, x: np.ndarray) -> None:
        gap = shape.opening
        self.half_width = REST_HALF_WIDTH * identity.mouth_width * (1 + 0.17 * shape.spread - 0.20 * shape.rounding)
        self.half_width *= 1 - 0.5 * max(0.0, gap - 0.05)
        t = np.clip(np.abs(x) / self.half_width, 0, 1)
        inner = np.clip(np.abs(x) / (self.half_width * 0.95), 0, 1)
        # A round mouth opens like an ellipse, a spread one like a lens.
        profile = (1 - inner**2) ** (0.62 - 0.12 * shape.rounding + 0.1 * max(0.0, shape.spread))
        top = REST_Y - 0.20 * gap - 0.004 * shape.press
        corner = REST_Y + 0.36 * gap - 0.004 * shape.spread - 0.002
        self.upper_inner = corner + (top - corner) * profile + 0.0025 * np.exp(-((t / 0.18) ** 2)) * (gap < 0.02)
        self.lower_inner = np.maximum(corner + (top + gap - corner) * profile, self.upper_inner)
        thin = (1 - 0.45 * shape.press) * (1 - 0.12 * max(0.0, shape.spread)) * (1 + 0.22 * shape.rounding)
        self.upper_height = 0.036 * identity.upper_lip * thin * (1 - 1.2 * min(gap, 0.15))
        self.lower_height = 0.045 * identity.lower_lip * thin * (1 - 0.55 * shape.tuck) * (1 - 1.2 * min(gap, 0.15))
        bow = 1 - 0.16 * np.exp(-((t / 0.13) ** 2)) + 0.05 * np.exp(-(((t - 0.27) / 0.16) ** 2))
        self.upper_outer = self.upper_inner - self.upper_height * (1 - t**1.9) ** 0.9 * bow
        self.lower_outer = self.lower_inner + self.lower_height * (1 - t**2.4) ** 0.75
        self.inside = 1 - smoothstep(0.96, 1.0, np.abs(x) / self.half_width)


def lip_relief(curves: MouthCurves, shape: MouthShape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height added to the face by the lips, in canonical units."""
    upper = (y - curves.upper_outer) / np.maximum(curves.upper_inner - curves.upper_outer, 1e-3)
    lower = (y - curves.lower_inner) / np.maximum(curves.lower_outer - curves.lower_inner, 1e-3)
    fade = 1 - smoothstep(0.55, 1.0, np.abs(x) / curves.half_width)
    relief = 0.014 * np.sin(np.pi * np.clip(upper, 0, 1)) + 0.020 * np.sin(np.pi * np.clip(lower, 0, 1))
    relief *= (1 - 0.5 * shape.press) * (1 + 0.6 * shape.rounding) * fade
    return relief + 0.03 * shape.rounding * bump(x, y, 0, REST_Y + 0.3 * shape.opening, 0.1, 0.08)


def paint_lips(
    albedo: np.ndarray, curves: MouthCurves, identity: Identity, x: np.ndarray, y: np.ndarray, grain: np.ndarray
) -> None:
    """Colour the vermilion into the unlit skin `albedo` [N, N, 3]; `grain` [N, N] around 0 breaks the flat colour."""
    mask = below(curves.upper_outer, y, 0.009) * (1 - below(curves.lower_outer, y, 0.010)) * curves.inside
    wrinkles = 1 + 0.05 * np.sin(x * 520 + 6 * grain) + 0.25 * grain
    blend(albedo, identity.lips * np.clip(wrinkles, 0.6, 1.3)[..., None], 0.92 * mask)


def paint_inside(
    image: np.ndarray, curves: MouthCurves, shape: MouthShape, x: np.ndarray, y: np.ndarray, pixel: float
) -> None:
    """Draw cavity, teeth and tongue into the lit `image` in place, and the line where lips meet. pixel: its size."""
    soft = 1.5 * pixel
    gap = np.maximum(curves.lower_inner - curves.upper_inner, 0)
    cavity = below(curves.upper_inner, y, soft) * (1 - below(curves.lower_inner, y, soft)) * curves.inside
    depth = np.clip((y - curves.upper_inner) / np.maximum(gap, 1e-3), 0, 1)
    inside = np.array([0.20, 0.07, 0.06], np.float32) * (0.45 + 0.75 * depth[..., None])
    wide = smoothstep(0.0, 1.0, np.clip(1 - np.abs(x) / curves.half_width, 0, 1) * 1.8)

    tongue_y = curves.lower_inner - 0.010 - 0.030 * shape.tongue - 0.25 * np.minimum(gap, 0.05)
    tongue = below(tongue_y + 6 * x**2, y, 0.02) * wide
    blend(inside, np.array([0.55, 0.24, 0.22], np.float32) * (0.55 + 0.5 * depth[..., None]), 0.85 * tongue)
    # Upper teeth belong to the skull and stay; lower teeth ride on the jaw.
    ivory = np.array([0.86, 0.82, 0.74], np.float32)
    gaps = 1 - 0.16 * np.exp(-((((x / 0.021 + 0.5) % 1 - 0.5) / 0.08) ** 2))
    light = (0.50 + 0.50 * smoothstep(0.0, 0.035, gap)) * (0.35 + 0.65 * wide) * gaps
    upper = 1 - below(REST_Y + 0.023 - 0.9 * x**2 + 0.002 * np.abs(np.sin(x * 150)), y, 2 * soft)
    blend(inside, ivory * light[..., None], upper * smoothstep(0.115, 0.10, np.abs(x)))
    lower = below(curves.lower_inner - 0.011 + 0.8 * x**2 - 0.004 * smoothstep(0.05, 0.1, gap), y, 2 * soft)
    blend(inside, 0.72 * ivory * light[..., None], 0.9 * lower * smoothstep(0.035, 0.06, gap) * wide)
    # The upper lip throws a shadow on what lies behind it.
    inside *= 1 - 0.45 * np.exp(-(((y - curves.upper_inner) / 0.010) ** 2))[..., None]
    blend(image, inside, cavity)

    seam = np.exp(-(((y - (curves.upper_inner + curves.lower_inner) / 2) / 0.0042) ** 2)) * curves.inside
    closed = 1 - smoothstep(0.0, 0.008, gap)
    image *= 1 - (0.62 * seam * closed)[..., None]
    edge = np.exp(-(((y - curves.upper_inner) / 0.004) ** 2)) * curves.inside * (1 - closed)
    image *= 1 - (0.25 * edge)[..., None]
