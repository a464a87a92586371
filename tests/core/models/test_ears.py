"""A published Whisper encoder taught to listen in a band, and checkpoints that travel without their ears."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from synclip_core.checkpoint import load_checkpoint, save_checkpoint
from synclip_core.errors import SyncLipError
from synclip_core.models.audio.speech import speech_front_end
from synclip_core.models.audio.whisper import WhisperFrontEnd
from synclip_core.models.config import AudioConfig, SyncLipMAEConfig, VisualConfig
from synclip_core.models.pretrained import load_speech_encoder, speech_config
from synclip_core.models.synclipmae import SyncLipMAE
from tools.localise_whisper import banded, localise, published
from train.pretrain import export


@pytest.fixture
def encoder_file(tmp_path: Path) -> Path:
    """A small Whisper encoder of random weights in transformers' names."""
    torch.manual_seed(0)
    sizes = AudioConfig("whisper", align="rows", width=64, depth=3, encoder={"band": 0, "mels": 80})
    path = tmp_path / "whisper.safetensors"
    save_file({f"model.encoder.{name}": t for name, t in WhisperFrontEnd(sizes).state_dict().items()}, path)
    return path


def test_the_banded_encoder_comes_to_say_what_the_published_one_says(encoder_file: Path, tmp_path: Path) -> None:
    encoder = published(encoder_file)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    torch.manual_seed(1)
    sound = (torch.randn(31 * 16000) * 3000).short()
    student, record = localise(sound, encoder, 60, 1e9, 1, 3e-3)
    again, started = localise(sound, encoder, 1, 1e9, 1, 0.0)
    assert all(torch.equal(tensor, encoder.state_dict()[name]) for name, tensor in before.items())  # the teacher stays
    assert all(torch.equal(t, banded(encoder).state_dict()[name]) for name, t in again.state_dict().items())  # rate 0
    assert record["steps"] == 60 and started["steps"] == 1
    wave = sound[None, : 30 * 16000].float() / 32767
    with torch.inference_mode():
        told = [x - encoder.positions for x in encoder.streams(wave)[1:]]
        apart = [
            sum(
                torch.nn.functional.mse_loss(
                    torch.nn.functional.layer_norm(said, said.shape[-1:]),
                    torch.nn.functional.layer_norm(wanted + one.place, said.shape[-1:]),
                )
                for said, wanted in zip(one.streams(one.log_mel(wave))[1:], told, strict=True)
            )
            for one in (student, banded(encoder))
        ]
    assert apart[0] < 0.8 * apart[1]
    # and what is written is read as a front end of the same sizes
    path = tmp_path / "local.safetensors"
    save_file({name: t.contiguous() for name, t in student.state_dict().items()}, path)
    front_end = speech_front_end(SyncLipMAEConfig(audio=speech_config(path)))
    load_speech_encoder(front_end, path)
    torch.testing.assert_close(front_end(wave)[-1], student(wave)[-1])
    with pytest.raises(SyncLipError, match="no published Whisper"):
        published(path)


def test_too_little_sound_is_said(encoder_file: Path) -> None:
    with pytest.raises(SyncLipError, match="more than a stretch"):
        localise(torch.zeros(16000, dtype=torch.int16), published(encoder_file), 1, 1e9, 1, 1e-3)


def test_a_checkpoint_travels_without_its_ears(tmp_path: Path) -> None:
    torch.manual_seed(0)
    audio = AudioConfig("whisper", align="rows", width=64, depth=2, encoder={"band": 8})
    model = SyncLipMAE(SyncLipMAEConfig(dim=32, visual=VisualConfig(width=32, depth=1, heads=2), audio=audio))
    run, small, whole, ears = (tmp_path / name for name in ("run", "small.safetensors", "whole.safetensors", "ears"))
    run.mkdir()
    save_checkpoint(run / "model.safetensors", model, {})
    save_file({name: t.half() for name, t in model.front_end.state_dict().items()}, ears)
    assert export.main(["--run", str(run), "--out", str(small), "--without-ears"]) == 0
    assert not any(name.startswith("front_end.") for name in load_file(small))
    with pytest.raises(SyncLipError, match="do not fit"):
        load_checkpoint(small)
    assert export.main(["--join", str(small), "--ears", str(ears), "--out", str(whole)]) == 0
    joined = load_checkpoint(whole).model.state_dict()
    assert all(torch.allclose(joined[name], t, atol=2e-3, rtol=2e-3) for name, t in model.state_dict().items())
    assert export.main(["--join", str(small), "--out", str(whole)]) == 4  # without --ears
