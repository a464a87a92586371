"""What the vocal prompt tells of the lips' shape: a term of ours, and all that the stage "vision" learns."""

import torch
from torch import Tensor

from .parts import Named

GEOMETRY_SCALE = 25.0  # canonical units -> order of one: lips open by about 0.04


def vision_loss(everyone: Named, rest: Tensor | None) -> Tensor:
    """The lips' geometry from single frames; the mean that is taken out is that of the batch. rest: see encode."""
    told, geometry, face = (everyone[name].flatten(0, 1)[None] for name in ("told", "geometry", "face"))
    if rest is not None:
        weight = face[..., None].to(told)
        told = told - (told * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1) + rest
    return geometry_error(told, geometry, face).sum() / face.sum().clamp_min(1)


def geometry_error(told: Tensor, geometry: Tensor, valid: Tensor) -> Tensor:
    """How far the vocal prompt is from telling the lips' shape, each clip's mean shape taken out (identity removed).

    told: [B, T, 2 P], the head's answer; geometry: [B, T, P, 2]; valid: [B, T]. Smooth L1 of each frame, [B, T], in
    units of 1 / GEOMETRY_SCALE.
    """
    weight = valid[..., None].to(geometry)
    flat = geometry.flatten(2) * GEOMETRY_SCALE
    mean = (flat * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1)
    error = torch.nn.functional.smooth_l1_loss(told, flat - mean, reduction="none")
    return (error * weight).mean(-1)
