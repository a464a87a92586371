"""Parts of the face: masks keep all of it at inference, follow its landmarks, and turn with the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synclip_core.faces.geometry import GEOMETRY_POINTS, REGION_POINTS, TEMPLATE_REGIONS, apply, frame_regions
from synclip_core.models.config import PROFILES, tiny
from synclip_core.models.masking import (
    face_importance,
    face_preserving_keep,
    inference_keep,
    template_regions,
    visible_count,
)
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.models.visual_encoder import AMBIENT, IDENTITY, VOCAL
from train.data import augment
from train.data.noise import Noise

# x0, y0, x1, y1 of a usual face: what must reach the vocal and the ambient prompt
SHOWN = {
    "left eye": (0.22, 0.27, 0.43, 0.36),
    "right eye": (0.57, 0.27, 0.78, 0.36),
    "left brow": (0.22, 0.18, 0.44, 0.24),
    "right brow": (0.56, 0.18, 0.78, 0.24),
    "forehead": (0.40, 0.09, 0.60, 0.15),
    "left cheek": (0.22, 0.45, 0.32, 0.58),
    "right cheek": (0.68, 0.45, 0.78, 0.58),
    "mouth": (0.36, 0.61, 0.64, 0.77),
    "chin": (0.42, 0.82, 0.58, 0.92),
}


def grid_of(profile: str) -> tuple[int, int]:
    visual = PROFILES[profile]().visual
    return visual.image_size[0] // visual.patch_size, visual.image_size[1] // visual.patch_size


def under(box: tuple[float, ...], grid: tuple[int, int]) -> torch.Tensor:
    """[P] bool: patches that a box touches by more than a sliver."""
    x0, y0, x1, y1 = (v * side for v, side in zip(box, (grid[1], grid[0]) * 2, strict=True))
    y, x = torch.arange(grid[0])[:, None], torch.arange(grid[1])
    wide = (torch.minimum(x + 1.0, torch.tensor(x1)) - torch.maximum(x + 0.0, torch.tensor(x0))).clamp_min(0)
    high = (torch.minimum(y + 1.0, torch.tensor(y1)) - torch.maximum(y + 0.0, torch.tensor(y0))).clamp_min(0)
    return (wide * high > 0.25 * min(1.0, (x1 - x0) * (y1 - y0))).flatten()


def kept(keep: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    return torch.zeros(len(keep), grid[0] * grid[1], dtype=torch.bool).scatter(1, keep, True)


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_part_of_the_face_is_seen_at_inference(profile: str, name: str) -> None:
    """Of the usual face, and of the same one larger, smaller and elsewhere in the square."""
    config, grid = PROFILES[profile]().visual, grid_of(profile)
    assert config.view == "face"
    for scale, dx, dy in ((1, 0, 0), (1.05, 0, 0), (0.9, 0.04, -0.03), (0.95, -0.05, 0.04)):
        move = np.array([dx, dy, dx, dy], np.float32)
        regions = torch.from_numpy((TEMPLATE_REGIONS - 0.5) * np.float32(scale) + 0.5 + move)[None]
        seen = kept(inference_keep(face_importance(regions, grid), config.face_mask_ratio), grid)[0]
        box = tuple((v - 0.5) * scale + 0.5 + m for v, m in zip(SHOWN[name], move.tolist(), strict=True))
        assert seen[under(box, grid)].all(), (scale, dx, dy)
        assert seen.sum() == visible_count(len(seen), config.face_mask_ratio)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_face_is_seen_before_the_background(profile: str) -> None:
    config, grid = PROFILES[profile]().visual, grid_of(profile)
    odds = face_importance(template_regions(), grid)
    corners = [0, grid[1] - 1, (grid[0] - 1) * grid[1], grid[0] * grid[1] - 1]
    assert not kept(inference_keep(odds, config.face_mask_ratio), grid)[0, corners].any()
    noise = torch.rand(300, odds.shape[1], generator=torch.Generator().manual_seed(0))
    share = kept(face_preserving_keep(noise, odds, config.face_mask_ratio), grid).float().mean(0)
    assert share[under(SHOWN["mouth"], grid)].mean() > 0.97 and share[under(SHOWN["left eye"], grid)].mean() > 0.95
    assert share[corners].mean() < 0.5 * share[under(SHOWN["left cheek"], grid)].mean()


def test_the_kept_patches_follow_the_landmarks() -> None:
    """A face at the left edge of the square and one at the right are seen where they are."""
    grid = (14, 14)
    left, right = (
        torch.from_numpy((TEMPLATE_REGIONS - 0.5) * np.float32(0.5) + 0.5) + torch.tensor([dx, 0.0, dx, 0.0])
        for dx in (-0.2, 0.2)
    )
    odds = face_importance(torch.stack([left, right]), grid)
    one, two = kept(inference_keep(odds, 0.75), grid).view(2, *grid)
    assert (one != two.flip(1)).sum() <= 4  # of 49; the two are computed in other digits
    assert one[:, :6].sum() > 3 * one[:, 8:].sum()
    # each frame has its own odds in training as well
    noise = torch.rand(2, 196, generator=torch.Generator().manual_seed(0))
    drawn = kept(face_preserving_keep(noise, odds, 0.75), grid).view(2, *grid)
    assert drawn[0, :, :6].sum() > 2 * drawn[0, :, 8:].sum() and drawn[1, :, 8:].sum() > 2 * drawn[1, :, :6].sum()


def test_odds_are_the_shares_that_parts_cover() -> None:
    """Closed form: a mouth over half of one patch of a 2 x 2 grid; the face is an ellipse."""
    nowhere = [0.0, 0.0, 0.0, 0.0]
    mouth = torch.tensor([[nowhere, nowhere, nowhere, [0.0, 0.0, 0.5, 0.25], nowhere]])
    want = torch.tensor([[3.0, 0.02, 0.02, 0.02]])
    torch.testing.assert_close(face_importance(mouth, (2, 2)), want, rtol=2e-3, atol=0)
    face = torch.tensor([[[0.0, 0.0, 1.0, 1.0], *[nowhere] * 4]])
    odds = face_importance(face, (8, 8)).view(8, 8)
    assert odds.mean() == pytest.approx(np.pi / 4, abs=0.03)
    assert odds[0, 0] == pytest.approx(0.02, rel=2e-3) and odds[3:5].min() > 0.9


@pytest.fixture(scope="module")
def model() -> SyncLipMAE:
    torch.manual_seed(0)
    return SyncLipMAE(tiny()).eval()


@torch.inference_mode()
def test_prompts_see_the_face_and_identity_sees_all(model: SyncLipMAE) -> None:
    frames, regions = torch.rand(1, 3, 112, 112), template_regions()
    before = model.prompts(frames, regions)
    torch.testing.assert_close(before, model.prompts(frames))  # without landmarks: the usual face
    for name, (x0, y0, x1, y1) in SHOWN.items():
        changed = frames.clone()
        changed[..., round(y0 * 112) : round(y1 * 112), round(x0 * 112) : round(x1 * 112)] = 1.0
        apart = (model.prompts(changed, regions) - before).abs().amax((0, 2))
        assert apart[VOCAL] > 1e-4 and apart[AMBIENT] > 1e-4, name
    corner = frames.clone()
    corner[..., :16, :16] = 1.0
    apart = (model.prompts(corner, regions) - before).abs().amax((0, 2))
    assert apart[VOCAL] == apart[AMBIENT] == 0 < apart[IDENTITY]


@torch.inference_mode()
def test_identity_costs_a_pass_that_can_be_saved(model: SyncLipMAE) -> None:
    frames, calls = torch.rand(2, 3, 112, 112), []
    hook = model.visual.register_forward_hook(lambda *_: calls.append(1))
    both = model.prompts(frames)
    assert len(calls) == 2
    quick = model.prompts(frames, identity=False)
    hook.remove()
    assert len(calls) == 3
    torch.testing.assert_close(quick[:, VOCAL:], both[:, VOCAL:])
    torch.testing.assert_close(both[:, IDENTITY], model.visual(frames)[1][:, IDENTITY])
    assert not torch.allclose(quick[:, IDENTITY], both[:, IDENTITY])


@torch.inference_mode()
def test_regions_decide_what_a_frame_shows(model: SyncLipMAE) -> None:
    frames = torch.rand(2, 3, 112, 112)
    aside = (template_regions() - 0.5) * 0.6 + 0.5 + torch.tensor([0.2, 0.0, 0.2, 0.0])
    regions = torch.cat([template_regions(), aside])
    prompts = model.prompts(frames, regions, identity=False)
    for k in range(2):  # each frame by its own
        torch.testing.assert_close(prompts[k : k + 1], model.prompts(frames[k : k + 1], regions[k : k + 1], False))
    assert not torch.allclose(prompts[1], model.prompts(frames, identity=False)[1])
    older = SyncLipMAE(replace(tiny(), visual=replace(tiny().visual, view="mouth"))).eval()
    assert torch.equal(older.prompts(frames, regions), older.prompts(frames))  # one fixed map, one pass


def test_boxes_are_those_of_the_landmarks_in_the_canonical_square() -> None:
    rng = np.random.default_rng(0)
    canonical = rng.uniform(0.2, 0.8, (3, 468, 2))
    canonical[:, REGION_POINTS[42:62], 1] = 0.1  # nose: in no box
    angle, size = np.array([0.0, 0.3, -0.5]), np.array([90.0, 120.0, 200.0])
    cos, sin = size * np.cos(angle), size * np.sin(angle)
    transforms = np.stack([np.stack([cos, -sin, [10, 20, 30]], -1), np.stack([sin, cos, [5, 6, 7]], -1)], 1)
    pixels = np.concatenate([apply(transforms, canonical), rng.normal(size=(3, 468, 1))], -1)
    boxes = frame_regions(pixels, transforms)
    assert boxes.dtype == np.float32 and boxes.shape == (3, 5, 4)
    left = np.concatenate([REGION_POINTS[:16], REGION_POINTS[32:42]])
    for k, points in ((1, canonical[:, left]), (3, canonical[:, GEOMETRY_POINTS[:40]])):
        np.testing.assert_allclose(boxes[:, k, :2], points.min(1), atol=1e-5)
        np.testing.assert_allclose(boxes[:, k, 2:], points.max(1), atol=1e-5)


def test_a_turned_and_mirrored_box_covers_its_points() -> None:
    clips, frames = 12, 3
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(clips, frames, 60, 2, generator=generator)
    points = points * torch.tensor([0.2, 0.15]) + torch.tensor([0.2, 0.5])
    tight = torch.cat([points.amin(2), points.amax(2)], -1)
    regions = tight[:, :, None].expand(-1, -1, 5, -1)
    crops = torch.zeros(clips, frames, 32, 32, 3, dtype=torch.uint8)
    _, moved, boxes = augment.geometric(crops, points, regions, 0.0, (32, 32), 2.0, Noise(range(clips)))
    low, high = moved.amin(2), moved.amax(2)
    assert (boxes[:, :, 0, :2] <= low + 1e-5).all() and (boxes[:, :, 0, 2:] >= high - 1e-5).all()
    assert ((boxes[:, :, 0, 2:] - boxes[:, :, 0, :2]) < 1.5 * (high - low)).all()
    mirrored = (boxes[:, 0, 0, 0] + boxes[:, 0, 0, 2]) / 2 > 0.5
    assert 2 < mirrored.sum() < 10
    # by as much as the strength says, and not at all at 0
    assert (boxes[:, :, 0] - regions[:, :, 0])[~mirrored].abs().max() > 0.02
    _, same, still = augment.geometric(crops, points, regions, 0.0, (32, 32), 0.0, Noise(range(clips)))
    torch.testing.assert_close(still, regions)
    torch.testing.assert_close(same, points)
