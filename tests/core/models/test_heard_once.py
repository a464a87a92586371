"""Both kinds of audio tokens of one sound: equal to each kind by itself, with one pass of the front end."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synclip_core.checkpoint import Checkpoint
from synclip_core.models.config import AudioConfig, ContextConfig, tiny
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.pipeline import SyncPipeline
from synclip_core.tokens import audio_stream

TICKS = 333
ADAPTER = {"adapter_width": 32, "adapter_depth": 2}  # looks 4 ticks to each side: silence around single-frame tokens
WHISPER = {"align": "rows", "width": 64, "depth": 3}
FRONT_ENDS = {
    "mel": AudioConfig("mel", width=80, depth=4, **ADAPTER),
    "whisper": AudioConfig("whisper", **WHISPER, encoder={"band": 8}),
    "whisper, adapter with neighbours": AudioConfig("whisper", **WHISPER, **ADAPTER, encoder={"band": 8}),
    "whisper as published": AudioConfig("whisper", **WHISPER, encoder={"band": 0}),
}


def pipeline_of(audio: AudioConfig) -> SyncPipeline:
    torch.manual_seed(0)
    model = SyncLipMAE(replace(tiny(), audio=audio, context=ContextConfig(depth=2, kernel=5, width=16))).eval()
    return SyncPipeline(Checkpoint(model, {}, "random"))


def sound() -> np.ndarray:
    wave = np.random.default_rng(0).normal(0, 0.1, 640 * TICKS).astype(np.float32)
    wave[: 640 * 5] = 0
    return wave


def front_end_ticks(pipeline: SyncPipeline) -> list[int]:
    """Grows by the ticks of every pass of the front end."""
    seen: list[int] = []
    front_end = pipeline.model.front_end
    original = front_end.forward if hasattr(front_end, "layer_norm") else front_end.log_mel
    name = "forward" if hasattr(front_end, "layer_norm") else "log_mel"

    def counted(wave: torch.Tensor) -> object:
        seen.append(wave.shape[-1] // 640)
        return original(wave)

    setattr(front_end, name, counted)
    return seen


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_both_kinds_are_those_of_each_and_the_front_end_hears_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_stream, "SPAN", 50)
    pipeline, wave = pipeline_of(FRONT_ENDS[name]), sound()
    apart = [SyncPipeline(pipeline.checkpoint, context=kind) for kind in (False, True)]
    with torch.inference_mode():
        whole = [pipeline.model.audio_tokens(torch.from_numpy(wave)[None], kind)[0] for kind in (False, True)]
    want = [own.audio_tokens(wave) for own in apart]
    seen = front_end_ticks(pipeline)
    apart[1].audio_tokens(wave)
    once = len(seen), sum(seen)
    seen.clear()
    found = pipeline.hear(wave)
    assert len(seen) <= once[0] + 1 and sum(seen) < 1.3 * once[1]
    assert np.abs(found[0] - found[1]).max() > 0.1
    for own, alone, at_once in zip(found, want, whole, strict=True):
        assert own.shape == (TICKS, pipeline.model.config.dim)
        np.testing.assert_allclose(own, alone, atol=1e-6)
        np.testing.assert_allclose(own, torch.nn.functional.normalize(at_once, dim=-1).numpy(), atol=1e-5)


def test_a_published_whisper_with_neighbours_hears_each_silence_by_itself() -> None:
    """Its pieces of 30 s begin at the silence, so rows are not those of the other kind: right before quick."""
    pipeline, wave = pipeline_of(AudioConfig("whisper", **WHISPER, **ADAPTER, encoder={"band": 0})), sound()
    for own, kind in zip(pipeline.hear(wave), (False, True), strict=True):
        np.testing.assert_allclose(own, SyncPipeline(pipeline.checkpoint, context=kind).audio_tokens(wave), atol=1e-6)
