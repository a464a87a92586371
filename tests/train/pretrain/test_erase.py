"""Closed-form erasure: what is taken out cannot be read any more, and what is left is left alone."""

import torch

from synclip_core.files.settings import from_dict
from synclip_core.models.config import SyncLipMAEConfig
from synclip_core.models.synclipmae import SyncLipMAE
from train.evaluate.ridge import Ridge, r2
from train.pretrain.erase import LEADING, Seen, erase, erasing, leading

MODEL = {
    "dim": 16,
    "visual": {"image_size": [32, 32], "width": 32, "depth": 1, "heads": 2, "stem_widths": [8, 8, 8]},
    "audio": {"width": 80, "depth": 4},
    "context": {"depth": 1, "width": 16},
    "decoder": {"width": 16, "depth": 1, "heads": 2},
}


def told(x: torch.Tensor, y: torch.Tensor) -> float:
    """R2 of the second half, by a reader fitted on the first."""
    half = len(x) // 2
    return float(r2(Ridge.fit(x[:half].numpy(), y[:half].numpy())(x[half:].numpy()), y[half:].numpy()))


def frames(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prompts that mix pose, mouth, the clip's person and something else; of 40 clips."""
    generator = torch.Generator().manual_seed(0)
    pose, mouth, rest = (torch.randn(count, n, generator=generator).double() for n in (3, 1, 20))
    clip = torch.randint(40, (count,), generator=generator)
    person = 3 * torch.randn(40, 3, generator=generator).double()[clip]
    mix = torch.randn(27, 32, generator=generator).double()
    return torch.cat([pose, mouth, rest, person], 1) @ mix, pose, mouth, clip


def test_an_erased_concept_cannot_be_read_and_the_rest_can() -> None:
    x, pose, mouth, clip = frames()
    left = erasing(x, pose, clip).of(x)
    assert told(x, pose) > 0.99 and told(left, pose) < 0.02
    assert told(left, mouth) > 0.9
    assert (left - x).abs().mean() < x.abs().mean()


def test_a_concept_s_motion_within_clips_is_erased_as_well() -> None:
    """Where a concept lies elsewhere from clip to clip than in motion, one of the two alone would leave the other."""
    generator = torch.Generator().manual_seed(1)
    clip = torch.randint(40, (4000,), generator=generator)
    level, motion, other = (torch.randn(n, 1, generator=generator).double() for n in (40, 4000, 4000))
    pose = 5 * level[clip] + motion  # nearly all of its variance lies between clips
    x = torch.cat([pose + 0.1 * other, motion + 3 * other, other], 1)
    change = erasing(x, pose, clip)
    left = change.of(x)

    def moved(values: torch.Tensor) -> torch.Tensor:
        means = torch.stack([values[clip == c].mean(0) for c in range(40)])
        return values - means[clip]

    assert told(moved(x), moved(pose)) > 0.9
    assert told(moved(left), moved(pose)) < 0.02 and told(left, pose) < 0.05


def test_the_tokens_of_a_model_lose_what_they_must_not_tell() -> None:
    x, pose, mouth, clip = frames()
    torch.manual_seed(0)
    model = SyncLipMAE(from_dict(SyncLipMAEConfig, MODEL, "test")).eval()
    prompts = torch.stack([x, x, x], 1)
    model.requires_grad_(False)
    before = model.vocal_head.proj(x.float())
    ambient, seen_before = model.ambient_tokens(prompts.float()), model.identity_tokens(prompts.float()).double()
    erase(model, Seen(prompts, pose, mouth, clip))
    identity, vocal = model.identity_tokens(prompts.float()).double(), model.vocal_head.proj(x.float()).double()
    context = model.vocal_context.embed(x.float()).double()
    for token in (identity, vocal, context):
        assert told(token, pose) < 0.05
    assert told(identity, mouth) < 0.05 and told(vocal, mouth) > 0.5
    assert told(before.double(), pose) > 0.2
    after = model.ambient_tokens(prompts.float())
    assert (
        told(ambient.double(), mouth) > 0.2 and told(after.double(), mouth) < 0.05 and told(after.double(), pose) > 0.2
    )
    said = leading(model.vocal_head.norm(vocal.float()).double(), LEADING)
    assert told(seen_before, said) > 0.5 and told(identity, said) < 0.05
