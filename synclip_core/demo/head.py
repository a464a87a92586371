"""Draws the talking head: relief, light, features, hair. One picture from an identity, a pose, a mouth and the lids.

The face is a height field over the canonical face square, so that normals, light, parallax of head turns and the
dropping jaw come from one surface. numpy and scipy only; about a second a picture of 320 x 320 at two samples a pixel.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter, map_coordinates

from .identity import Identity
from .mouth import MouthCurves, MouthShape, lip_relief, paint_inside, paint_lips
from .painting import below, blend, bump, smoothstep

# Half width of the head at some heights; squared widths are interpolated, which makes crown and chin round.
OUTLINE_Y = np.array([-0.27, -0.22, -0.12, 0.02, 0.20, 0.35, 0.50, 0.62, 0.72, 0.80, 0.86, 0.91, 0.935])
OUTLINE_W = np.array([0.0, 0.17, 0.275, 0.345, 0.368, 0.367, 0.345, 0.322, 0.288, 0.246, 0.200, 0.128, 0.0])


@dataclass(frozen=True)
class Pose:
    """Angles in radians (yaw: to the picture's right; pitch: down; roll: clockwise), shift in face units, lids 0..1."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0
    lids: float = 1.0
    gaze: float = 0.0
    brows: float = 0.0


class HeadRenderer:
    """Renders one identity. size: pixels a side; samples: supersampling a side; scale: face units a picture side."""

    def __init__(self, identity: Identity, size: int = 320, samples: int = 2, scale: float = 1.75) -> None:
        self.identity, self.size, self.samples = identity, size, samples
        self.pixel = scale / (size * samples)
        steps = (np.arange(size * samples, dtype=np.float32) + 0.5) * self.pixel
        self.px, self.py = np.meshgrid(steps - scale / 2, steps - scale * 0.30)
        widths = OUTLINE_W * identity.face_width * np.where(OUTLINE_Y > 0.5, identity.jaw_width, 1.0)
        outline_y = OUTLINE_Y + np.clip((OUTLINE_Y - 0.6) / 0.3, 0, 1) * identity.chin
        self._width2 = PchipInterpolator(outline_y, widths**2)
        self._bounds = (outline_y[0] + 1e-4, outline_y[-1] - 1e-4)
        rng = np.random.default_rng(identity.texture_seed)
        self._noise = [gaussian_filter(rng.standard_normal((256, 256)), s, mode="wrap") for s in (0.7, 2.0, 6.0)]
        self._noise = [(n / n.std()).astype(np.float32) for n in self._noise]

    def render(self, mouth: MouthShape, pose: Pose) -> np.ndarray:
        """Returns uint8 RGB [size, size, 3]."""
        who = self.identity
        x, y = self._face_coordinates(pose)
        # Skin below the nose rides on the jaw, least at the sides; ym: where a point of skin was with the mouth closed.
        side = 1 - 0.65 * smoothstep(0.12, 0.36, np.abs(x))
        ym = y.copy()
        for _ in range(4):
            ym = y - mouth.jaw * smoothstep(0.60, 0.88, ym) * side
        shape, inside_head = self._outline(x, ym)
        curves = MouthCurves(mouth, who, x)
        z = self._relief(x, y, ym, shape, mouth) + lip_relief(curves, mouth, x, y)
        light, shine = self._light(z)

        albedo = self._skin(x, y, ym)
        paint_lips(albedo, curves, who, x, y, 0.06 * self._grain(1, x * 260, ym * 260))
        image = albedo * light + 0.10 * shine[..., None] * (0.5 + 0.5 * who.skin)
        image *= self._occlusion(x, y, ym, curves)[..., None]
        paint_inside(image, curves, mouth, x, y, self.pixel)
        self._eyes(image, x, y, pose)
        self._brows(image, x, y - pose.brows, light)
        self._hair_front(image, x, y, light)

        picture = self._behind(pose, x, y, ym)
        blend(picture, image, inside_head)
        n, k = self.size, self.samples
        picture = picture.reshape(n, k, n, k, 3).mean((1, 3))
        picture = gaussian_filter(picture, (0.45, 0.45, 0))
        return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)

    def _face_coordinates(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Face coordinates of every picture sample: the pose undone, with parallax by the head's rough depth."""
        pivot_y = 0.75  # the head turns and nods on the neck
        px = (self.px - pose.shift_x) / pose.zoom
        py = (self.py - pose.shift_y - pivot_y) / pose.zoom
        c, s = np.cos(pose.roll), np.sin(pose.roll)
        px, py = c * px + s * py, c * py - s * px + pivot_y
        x, y = px, py
        for _ in range(3):
            base = np.sqrt(np.clip(1 - (x / 0.46) ** 2 - ((y - 0.36) / 0.72) ** 2, 0, 1)) * 0.42
            base = base + 0.12 * bump(x, y, 0, 0.49, 0.07, 0.09) - 0.25
            x = (px - np.sin(pose.yaw) * base) / np.cos(pose.yaw)
            y = (py - np.sin(pose.pitch) * base) / np.cos(pose.pitch)
        return x.astype(np.float32), y.astype(np.float32)

    def _outline(self, x: np.ndarray, ym: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far inside the head a sample lies (1 on the axis, 0 on the outline) and the antialiased head mask."""
        width2 = np.maximum(self._width2(np.clip(ym, *self._bounds)), 1e-5)
        inside = 1 - x**2 / width2 - 2000 * np.maximum(0, np.maximum(self._bounds[0] - ym, ym - self._bounds[1]))
        inside = np.maximum(inside, -1.0).astype(np.float32)  # far outside is flat: no edge where the outline ends
        gy, gx = np.gradient(inside)
        mask = np.clip(inside / np.maximum(np.hypot(gx, gy) * 1.5, 1e-6) + 0.5, 0, 1)
        return np.clip(inside, 0, 1), mask

    def _relief(
        self, x: np.ndarray, y: np.ndarray, ym: np.ndarray, inside: np.ndarray, mouth: MouthShape
    ) -> np.ndarray:
        """Height of the face without lips."""
        who, ax = self.identity, np.abs(x)
        z = 0.40 * np.sqrt(inside + 1e-4) * (0.8 + 0.2 * smoothstep(0.95, 0.6, ym))
        z += 0.022 * bump(ax, y, 0.15, 0.235, 0.12, 0.045) - 0.050 * bump(ax, y, 0.150, 0.330, 0.075, 0.050)
        z += 0.028 * bump(ax, y, 0.156, 0.336, 0.050, 0.034)
        nose = who.nose
        bridge = smoothstep(0.24, 0.50, y) * smoothstep(0.575, 0.525, y)
        z += (0.035 + 0.09 * smoothstep(0.28, 0.5, y)) * bridge * np.exp(-((x / (0.048 * nose)) ** 2))
        z += 0.035 * bump(x, y, 0, 0.507, 0.045 * nose, 0.036) + 0.040 * bump(ax, y, 0.062 * nose, 0.532, 0.027, 0.026)
        z += 0.022 * bump(ax, y, 0.235, 0.44, 0.085, 0.07)
        z += 0.030 * bump(x, ym, 0, 0.69, 0.17, 0.10) - 0.006 * bump(x, y, 0, 0.61, 0.012, 0.035)
        z += 0.030 * bump(x, ym, 0, 0.875, 0.085, 0.045) - 0.016 * bump(x, ym, 0, 0.79, 0.09, 0.022)
        fold = ax - (0.095 + 0.55 * (y - 0.55) + 0.03 * mouth.spread)
        depth = 0.006 + 0.006 * max(0.0, mouth.spread) + 0.02 * mouth.opening
        z -= depth * np.exp(-((fold / 0.018) ** 2)) * smoothstep(0.54, 0.60, y) * smoothstep(0.76, 0.68, y)
        return z.astype(np.float32)

    def _light(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Light per channel [N, N, 3] and highlights [N, N] of the surface z. Skin lets red light wrap furthest."""
        z = gaussian_filter(z, 1.2)
        gy, gx = np.gradient(z, self.pixel)
        normal = np.stack([-gx, -gy, np.ones_like(gx)], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        key = normal @ self.identity.light
        fill = np.clip(normal @ np.array([-0.5, 0.15, 0.85], np.float32), 0, 1)
        wrap = np.array([0.38, 0.28, 0.24], np.float32)
        diffuse = np.clip((key[..., None] + wrap) / (1 + wrap), 0, 1)
        half = self.identity.light + np.array([0, 0, 1], np.float32)
        shine = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 28
        return 0.26 + 0.72 * diffuse + 0.14 * fill[..., None], shine

    def _grain(self, level: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Noise that sticks to the skin: level 0 fine, 2 coarse; u, v in texels."""
        return map_coordinates(self._noise[level], [v, u], order=1, mode="grid-wrap")

    def _skin(self, x: np.ndarray, y: np.ndarray, ym: np.ndarray) -> np.ndarray:
        who, ax = self.identity, np.abs(x)
        tone = 1 + 0.020 * self._grain(0, x * 300, ym * 300) + 0.022 * self._grain(2, x * 160, ym * 160)
        albedo = who.skin * tone[..., None]
        blush = 0.7 * bump(ax, ym, 0.21, 0.50, 0.09, 0.08) + 0.6 * bump(x, y, 0, 0.51, 0.06, 0.05)
        blush += 0.4 * bump(ax, y, 0.15, 0.34, 0.09, 0.05)
        albedo *= 1 - blush[..., None] * np.array([0.02, 0.11, 0.10], np.float32)
        beard = smoothstep(0.60, 0.70, ym + 0.25 * np.maximum(ax - 0.12, 0)) * smoothstep(0.02, 0.2, ax + (ym - 0.55))
        beard = beard * who.stubble * (0.75 + 0.25 * self._grain(0, x * 420, ym * 420))
        blend(albedo, 0.5 * who.skin + 0.2 * who.hair, np.clip(0.55 * beard, 0, 1))
        return albedo.astype(np.float32)

    def _occlusion(self, x: np.ndarray, y: np.ndarray, ym: np.ndarray, curves: MouthCurves) -> np.ndarray:
        """Soft shadows that a height field does not cast."""
        ax, nose = np.abs(x), self.identity.nose
        dark = 0.26 * bump(x, y, 0, 0.578, 0.075 * nose, 0.018)
        dark += 0.75 * bump(ax, y, 0.034 * nose, 0.553, 0.018, 0.0085)
        dark += 0.16 * bump(ax, y, 0.092 * nose, 0.540, 0.010, 0.030)
        dark += 0.20 * np.exp(-(((y - curves.lower_outer - 0.016) / 0.014) ** 2)) * smoothstep(0.11, 0.03, ax)
        dark += 0.30 * bump(ax, y, curves.half_width, float(curves.upper_inner[0, 0]), 0.012, 0.010)
        dark += 0.14 * bump(ax, y, 0.095, 0.315, 0.035, 0.04) + 0.15 * smoothstep(0.90, 0.96, ym)
        return np.clip(1 - dark, 0, 1)

    def _eyes(self, image: np.ndarray, x: np.ndarray, y: np.ndarray, pose: Pose) -> None:
        ax, size, soft = np.abs(x), self.identity.eyes, 2 * self.pixel
        u = np.clip((ax - 0.156) / 0.0695, -1, 1)
        line = 0.337 - 0.0035 * u
        arc = (1 - u**2) ** 0.62
        low = line + 0.015 * size * arc
        top = line - 0.027 * size * arc * (1 + 0.1 * u)
        lid = low - (low - top) * float(np.clip(pose.lids, 0, 1))
        open_eye = below(lid, y, soft) * (1 - below(low, y, soft)) * (np.abs((ax - 0.156) / 0.0695) < 1)
        white = np.array([0.86, 0.84, 0.82], np.float32) * (0.92 - 0.25 * np.abs(u[..., None]) ** 3)
        r = np.hypot(x - np.sign(x) * 0.156 - 0.012 * pose.gaze, y - 0.332)
        iris = self.identity.iris * (0.75 + 5 * np.clip(r, 0, 0.03)[..., None])
        blend(white, iris, below(r, np.full_like(r, 0.0285 * size), 0.004))
        blend(white, np.zeros(3, np.float32) + 0.03, below(r, np.full_like(r, 0.0125 * size), 0.004))
        spot = np.hypot(x - np.sign(x) * 0.156 + 0.008, y - 0.322)
        blend(white, np.ones(3, np.float32), 0.9 * below(spot, np.full_like(r, 0.0055), 0.004))
        white *= 1 - 0.45 * np.exp(-(((y - lid) / 0.010) ** 2))[..., None]
        blend(image, white, open_eye)
        near = smoothstep(1.12, 0.98, np.abs((ax - 0.156) / 0.0695))
        lashes = np.exp(-(((y - lid + 0.001) / 0.0048) ** 2)) * near
        crease = np.exp(-(((y - top + 0.016) / 0.005) ** 2)) * near * (0.4 + 0.6 * pose.lids)
        rim = np.exp(-(((y - low - 0.001) / 0.004) ** 2)) * near
        image *= (1 - 0.78 * lashes - 0.22 * crease - 0.22 * rim).clip(0, 1)[..., None]

    def _brows(self, image: np.ndarray, x: np.ndarray, y: np.ndarray, light: np.ndarray) -> None:
        ax = np.abs(x)
        along = np.clip((ax - 0.065) / 0.185, 0, 1)
        middle = 0.262 - 0.040 * np.sin(np.pi * (0.12 + 0.72 * along)) + 0.012 * along
        half = 0.0125 * self.identity.brows * (1 - 0.55 * along**2)
        hairs = self._grain(0, x * 380 + y * 200, y * 120)
        mask = smoothstep(1.25, 0.55, np.abs(y - middle) / half + 0.16 * hairs)
        mask = mask * smoothstep(0.055, 0.085, ax) * smoothstep(0.262, 0.225, ax)
        blend(image, self.identity.hair * 0.8 * light.mean(-1, keepdims=True), 0.85 * mask)

    def _hair_colour(self, x: np.ndarray, y: np.ndarray, swirl: float) -> np.ndarray:
        strands = self._grain(0, x * 330 + swirl * np.sin(y * 4), y * 24) + 0.6 * self._grain(1, x * 180, y * 16)
        gloss = 0.35 * np.exp(-(((y + 0.10 - 0.5 * x**2) / 0.09) ** 2))
        return self.identity.hair * (0.85 + 0.16 * strands + gloss).clip(0.3, 2)[..., None]

    def _hair_front(self, image: np.ndarray, x: np.ndarray, y: np.ndarray, light: np.ndarray) -> None:
        """Hair over the forehead and temples, down to the hair line."""
        line = 0.035 + self.identity.hairline - 0.25 * x**2 + 0.9 * np.maximum(np.abs(x) - 0.24, 0) * 2.2
        line = line + 0.006 * self._grain(0, x * 330, y * 5) + 0.006 * self._grain(2, x * 160, y * 5)
        mask = 1 - below(line, y, 0.045)
        mask = np.maximum(mask, smoothstep(0.318, 0.350, np.abs(x)) * smoothstep(0.44, 0.30, y))
        blend(image, self._hair_colour(x, y, 3.0) * (0.45 + 0.6 * light.mean(-1, keepdims=True)), mask)

    def _behind(self, pose: Pose, x: np.ndarray, y: np.ndarray, ym: np.ndarray) -> np.ndarray:
        """Background, shoulders, neck, ears and the hair behind the head."""
        who, ax = self.identity, np.abs(x)
        far = 1 - 0.22 * np.hypot(self.px, self.py - 0.2)
        picture = (who.background * far[..., None]).astype(np.float32)
        if who.long_hair:
            down, up = np.maximum(y - 0.05, 0), np.maximum(0.05 - y, 0)
            back = 1 - (ax / 0.455) ** 2.2 - (down / 1.05) ** 4 - (up / 0.39) ** 2
            blend(picture, self._hair_colour(x, y, 5.0) * 0.72, np.clip(back / 0.04, 0, 1))
        # The body follows the head only a little.
        bx, by = self.px - 0.25 * pose.shift_x, self.py - 0.25 * pose.shift_y
        round_neck = np.sqrt(np.clip(1 - (bx / 0.235) ** 2, 0, 1))
        under_chin = 0.55 + 0.45 * smoothstep(0.0, 0.16, by - 0.93 - 0.3 * np.abs(bx))
        neck = smoothstep(0.235, 0.228, np.abs(bx) - 0.20 * np.maximum(by - 1.02, 0)) * smoothstep(0.55, 0.6, by)
        blend(picture, who.skin * (0.30 + 0.48 * round_neck * under_chin)[..., None], neck)
        collar = 1.14 + 0.10 * np.sqrt(np.clip(1 - (bx / 0.30) ** 2, 0, 1)) + 0.12 * np.maximum(np.abs(bx) - 0.3, 0)
        cloth = who.shirt * (0.70 + 0.06 * self._grain(0, bx * 200, by * 200) - 0.25 * np.abs(bx))[..., None]
        blend(picture, cloth.astype(np.float32), below(collar + 0.35 * np.maximum(np.abs(bx) - 0.5, 0) ** 2, by, 0.01))
        ear = 1 - ((ax - 0.368 * who.face_width) / 0.055) ** 2 - ((y - 0.42) / 0.115) ** 2
        shade = 0.55 + 0.30 * np.clip(ear, 0, 1) - 0.22 * bump(ax, y, 0.385 * who.face_width, 0.42, 0.02, 0.05)
        blend(picture, who.skin * shade[..., None], np.clip(ear / 0.08, 0, 1) * (1 - 0.8 * who.long_hair))
        if not who.long_hair:
            top = 1 - (ax / 0.395) ** 2.4 - (np.minimum(y - 0.12, 0) / 0.43) ** 2
            blend(picture, self._hair_colour(x, y, 3.0) * 0.8, np.clip(top / 0.05, 0, 1) * smoothstep(0.30, 0.2, y))
        return picture
