"""Audio tokens from the hidden layers of a speech encoder that another program ran."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synclip_core.checkpoint import Checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.models.audio.speech import rows_of_frames
from synclip_core.models.config import AudioConfig, tiny
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.pipeline import SyncPipeline

TICKS = 30


@pytest.fixture(scope="module")
def pipeline() -> SyncPipeline:
    pytest.importorskip("transformers")
    encoder = {"conv_dim": [32] * 7, "intermediate_size": 96, "num_conv_pos_embedding_groups": 4}
    audio = AudioConfig(front_end="wav2vec2", width=64, depth=3, encoder=encoder)
    torch.manual_seed(0)
    return SyncPipeline(Checkpoint(SyncLipMAE(replace(tiny(), audio=audio)).eval(), {}, "random"))


def hidden(pipeline: SyncPipeline, wave: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        return pipeline.model.front_end.network(wave, output_hidden_states=True).hidden_states


@pytest.mark.parametrize("context", [True, False])
def test_layers_give_the_tokens_that_the_sound_gives(pipeline: SyncPipeline, context: bool) -> None:
    pipeline = SyncPipeline(pipeline.checkpoint, context=context)
    wave = torch.randn(1, TICKS * 640) * 0.1
    unit = (wave - wave.mean()) / (wave.var(unbiased=False) + 1e-7).sqrt()
    with torch.inference_mode():
        own = pipeline.model.audio_tokens(wave, context)[0]
    want = torch.nn.functional.normalize(own, dim=-1).numpy()
    found = pipeline.layer_tokens(hidden(pipeline, torch.nn.functional.pad(unit, (40, 40))))
    np.testing.assert_allclose(found, want, atol=1e-5)


def test_two_rows_make_a_frame_and_an_odd_last_row_stands_for_two() -> None:
    """ComfyUI runs the encoder on unpadded sound: T frames give 2 T - 1 rows."""
    rows = torch.arange(5.0)[None, :, None].expand(1, 5, 3)
    (frames,) = rows_of_frames([rows])
    torch.testing.assert_close(frames, torch.tensor([0.5, 2.5, 4.0])[None, :, None].expand(1, 3, 3))


def test_layers_of_another_encoder_are_refused(pipeline: SyncPipeline) -> None:
    layers = hidden(pipeline, torch.randn(1, TICKS * 640))
    for wrong in (layers[:2], [x[..., :32] for x in layers], [x.expand(2, -1, -1) for x in layers]):
        with pytest.raises(SyncLipError, match="trained on 3 layers of width 64"):
            pipeline.layer_tokens(wrong)
    with pytest.raises(SyncLipError, match="listens with mel"):
        SyncPipeline().layer_tokens(layers)
