"""The temporal branch: a token knows its neighbours and no end; two streams that end together are not yet in sync."""

from dataclasses import replace

import pytest
import torch
from noise_shards import SETTINGS

from synclip_core.files.settings import from_dict
from synclip_core.models.config import AudioConfig, ContextConfig, SyncLipMAEConfig
from synclip_core.models.synclipmae import SyncLipMAE
from train.data.noise import DeviceNoise, Noise
from train.data.sampling import Batch
from train.pretrain.config import AugmentConfig, LossConfig, StageConfig
from train.pretrain.objective import STAGES, Step, Tokens, contrast

TICK, LENGTH = 640, 80
QUIET = AugmentConfig(0, 0, 0, 0, 0)
WHISPER = AudioConfig("whisper", align="rows", width=64, depth=3, norm_layers=True, encoder={"band": 6})


def build(**changes: object) -> SyncLipMAE:
    torch.manual_seed(0)
    config = from_dict(SyncLipMAEConfig, SETTINGS["model"])
    model = SyncLipMAE(replace(config, **changes)).eval()
    with torch.no_grad():
        for block in [b for name in ("vocal_context", "audio_context") for b in getattr(model, name, model).children()]:
            for parameter in block.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def model() -> SyncLipMAE:
    model = build(audio=WHISPER, context=ContextConfig(depth=2, kernel=5, width=16))
    torch.nn.init.normal_(model.front_end.bias)
    return model


def wave_of(seed: int, ticks: int = LENGTH) -> torch.Tensor:
    return 0.1 * torch.randn(1, ticks * TICK, generator=torch.Generator().manual_seed(seed))


def batch_of(clips: int, frames: int, trusted: list[bool] | None = None) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        torch.empty(0),
        torch.empty(0),
        torch.empty(0),
        torch.ones(clips, frames, dtype=torch.bool),
        0.1 * torch.randn(clips, frames * TICK, generator=generator),
        torch.tensor(trusted or [True] * clips),
        torch.arange(clips),
        torch.arange(clips),
        torch.arange(frames).expand(clips, -1),
        0.0,
        torch.randn(clips, frames, 16, generator=generator),
        tuple(range(clips)),
    )


@torch.inference_mode()
@pytest.mark.parametrize("first, last", [(0, 60), (17, 80), (13, 61)])
def test_a_cut_has_the_tokens_of_the_longer_clip(model: SyncLipMAE, first: int, last: int) -> None:
    """Wherever the context lies inside; near an end that the longer clip does not have they differ."""
    wave, prompts = wave_of(1), torch.randn(1, LENGTH, 16, generator=torch.Generator().manual_seed(2))
    vocal_reach, audio_reach = model.config.reach()
    audio_reach += model.front_end.reach
    assert (vocal_reach, audio_reach) == (4, 11)
    for reach, whole, cut in (
        (audio_reach, model.audio_tokens(wave)[0], model.audio_tokens(wave[:, first * TICK : last * TICK])[0]),
        (vocal_reach, model.vocal_tokens(prompts)[0], model.vocal_tokens(prompts[:, first:last])[0]),
    ):
        low, high = first + reach if first else 0, last - reach if last < LENGTH else LENGTH
        torch.testing.assert_close(cut[low - first : high - first], whole[low:high], atol=1e-4, rtol=1e-4)
        apart = (cut - whole[first:last]).abs().amax(1)
        if first:
            assert apart[0] > 1e-3
        if last < LENGTH:
            assert apart[-1] > 1e-3


@torch.inference_mode()
def test_what_is_not_seen_is_like_an_end(model: SyncLipMAE) -> None:
    """A face that is gone and a sound that training hid: the ticks beside them are those of a clip that ends there."""
    seen = torch.ones(1, LENGTH, dtype=torch.bool)
    seen[:, 30:50] = False
    prompts = torch.randn(1, LENGTH, 16, generator=torch.Generator().manual_seed(3))
    heard = model.adapter.joined(model.front_end(wave_of(4)))
    for head, x in ((model.vocal_context, prompts), (model.audio_context, heard)):
        tokens = head(x, seen)[0]
        for part in (slice(0, 30), slice(50, LENGTH)):
            torch.testing.assert_close(tokens[part], head(x[:, part])[0], atol=1e-5, rtol=1e-5)
        assert (tokens - head(x)[0]).abs().amax(1)[29] > 1e-3
    torch.testing.assert_close(model.vocal_tokens(prompts, seen)[0], model.vocal_context(prompts, seen)[0])


@torch.inference_mode()
def test_nothing_leaks_across_what_is_hidden(model: SyncLipMAE) -> None:
    """Nor out of it; of a stretch shorter than the kernel's half the neighbours on the other side are seen."""
    generator = torch.Generator().manual_seed(5)
    heard = model.adapter.joined(model.front_end(wave_of(6)))
    for head, x in ((model.vocal_context, torch.randn(1, LENGTH, 16)), (model.audio_context, heard)):
        for length, leaks in ((5, False), (1, True)):
            seen = torch.ones(1, LENGTH, dtype=torch.bool)
            seen[:, 40 : 40 + length] = False
            changed = x.clone()
            changed[:, : 40 + length] = torch.randn(1, 40 + length, x.shape[2], generator=generator)
            after = slice(40 + length, LENGTH)
            apart = (head(changed, seen) - head(x, seen))[0, after].abs().max()
            assert (apart > 1e-3) == leaks, (length, apart)


def test_stretches_are_hidden_now_and_then_anywhere_and_in_each_stream_by_itself() -> None:
    noise, frames = DeviceNoise(6000, 0, "cpu"), 60
    video, sound = (contrast.hidden_stretch(noise, frames) for _ in range(2))
    for hidden in (video, sound):
        length, inside = hidden.sum(1), hidden.any(1)
        assert 0.6 < inside.float().mean() < 2 / 3 + 0.03  # a few lie outside but for less than a tick
        assert length.max() <= 0.5 * frames + 1
        whole = length[inside & ~hidden[:, 0] & ~hidden[:, -1]]
        assert whole.min() >= 0.1 * frames - 1
        assert (hidden.diff(dim=1).sum(1) <= 2).all()  # one stretch
        share = hidden.float().mean(0)
        assert share.min() > 0.12 and share.max() < 0.3  # no tick is spared, at the ends as in the middle
        assert abs(share[:6].mean() - share[27:33].mean()) < 0.03
    assert abs(torch.corrcoef(torch.stack([video[:, 30], sound[:, 30]]).float())[0, 1]) < 0.05
    assert abs(torch.corrcoef(torch.stack([video[:, 0], sound[:, 0]]).float())[0, 1]) < 0.05
    one, two = (contrast.hidden_stretch(Noise([3]), frames) for _ in range(2))
    assert torch.equal(one, two)  # of the seed


def test_the_contrast_never_counts_what_an_end_can_touch(model: SyncLipMAE, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, stage = batch_of(3, 30, [True, False, True]), StageConfig(learn="alignment")
    loss = LossConfig(self_similarity=2.0)
    reach = model.config.context.reach
    own, shared = STAGES[stage.learn].encode(Step(model, batch, stage, QUIET, loss, Noise([1, 2, 3])))
    counts = shared["counts_context"]
    assert not counts[:, :reach].any() and not counts[:, -reach:].any() and not counts[1].any() and counts.any()
    assert shared["counts"][0].all()  # of single frames an end says nothing
    with monkeypatch.context() as patch:
        patch.setattr(contrast, "hidden_stretch", lambda noise, frames: torch.zeros(3, frames, dtype=torch.bool))
        _, shown = STAGES[stage.learn].encode(Step(model, batch, stage, QUIET, loss, Noise([1, 2, 3])))
    want = torch.zeros(3, 30, dtype=torch.bool)
    want[[0, 2], reach:-reach] = True
    assert torch.equal(shown["counts_context"], want)
    # what is hidden of either stream does not count either
    draws = Noise([1, 2, 3])
    hidden = [contrast.hidden_stretch(draws, 30) for _ in range(2)]
    assert torch.equal(counts, want & ~hidden[0] & ~hidden[1]) and any(h.any() for h in hidden)
    # tokens that do not count change nothing

    def contrast_of(tokens: Tokens) -> torch.Tensor:
        return STAGES[stage.learn].compare(tokens, loss, None).parts["context"]

    value = contrast_of(Tokens(own, shared, shared, 0))
    for name in ("audio_context", "vocal_context"):
        other = shared | {name: torch.where(counts[..., None], shared[name], torch.randn(16))}
        torch.testing.assert_close(
            STAGES[stage.learn].compare(Tokens(own, other, other, 0), loss, None).parts["context"], value
        )
    both = {name: shared[name].roll(1, 1) for name in ("vocal_context",)}
    assert (
        STAGES[stage.learn].compare(Tokens(own, shared | both, shared | both, 0), loss, None).parts["context"] != value
    )


def test_the_contrast_of_tokens_that_look_along_the_clip_spares_the_ends() -> None:
    """A model without the branch, whose own adapter and vocal head look along."""
    audio = AudioConfig(width=80, depth=4, adapter_width=16, adapter_depth=2)
    older = build(audio=audio, context=ContextConfig())
    stage, noise = StageConfig(learn="alignment"), Noise([1, 2])
    _, shared = STAGES[stage.learn].encode(Step(older, batch_of(2, 30), stage, QUIET, LossConfig(), noise))
    reach = max(older.config.reach(context=False))
    assert reach > 0 and "counts_context" not in shared
    assert shared["counts"][:, reach:-reach].all() and shared["counts"].sum() == 2 * (30 - 2 * reach)


def test_both_kinds_of_tokens_live_in_one_checkpoint(model: SyncLipMAE) -> None:
    prompts = torch.randn(1, 20, 16)
    with torch.inference_mode():
        assert not torch.equal(model.vocal_tokens(prompts), model.vocal_tokens(prompts, context=False))
        single = model.vocal_tokens(prompts, context=False)
        moved = prompts.clone()
        moved[:, 10] += 1
        changed = (model.vocal_tokens(moved, context=False) - single).abs().amax((0, 2)) > 1e-5
        assert model.vocal_head.center or changed.nonzero().flatten().tolist() == [10]
        along = (model.vocal_tokens(moved) - model.vocal_tokens(prompts)).abs().amax((0, 2)) > 1e-6
        assert along.nonzero().flatten().tolist() == list(range(6, 15))
