"""Published weights: each real key layout, on small random files, gives the same features as the library it is from."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from synclip_core.errors import SyncLipError
from synclip_core.models.audio.speech import SpeechEncoder, speech_front_end
from synclip_core.models.config import AudioConfig, SyncLipMAEConfig, VisualConfig, paper
from synclip_core.models.decoder import Decoder
from synclip_core.models.pretrained import load_speech_encoder, speech_config
from synclip_core.models.pretrained_vit import load_vit, resize_position
from synclip_core.models.visual_encoder import VisualEncoder

WIDTH, DEPTH = 32, 2


def encoder(image_size: tuple[int, int] = (64, 64)) -> VisualEncoder:
    torch.manual_seed(0)
    return VisualEncoder(VisualConfig(image_size=image_size, width=WIDTH, depth=DEPTH, heads=2)).eval()


def sapiens_state(prefix: str, rows: int) -> dict[str, torch.Tensor]:
    """The key layout of sapiens_0.3b_*: mmpretrain's VisionTransformer under `backbone.`."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.projection.weight": (WIDTH, 3, 16, 16),
        "patch_embed.projection.bias": (WIDTH,),
        "pos_embed": (1, rows, WIDTH),
        "ln1.weight": (WIDTH,),
        "ln1.bias": (WIDTH,),
    }
    for i in range(DEPTH):
        for name, rows_out, rows_in in (
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("ffn.layers.0.0", 4 * WIDTH, WIDTH),
            ("ffn.layers.1", WIDTH, 4 * WIDTH),
        ):
            shapes[f"layers.{i}.{name}.weight"] = (rows_out, rows_in)
            shapes[f"layers.{i}.{name}.bias"] = (rows_out,)
        for name in ("ln1", "ln2"):
            shapes[f"layers.{i}.{name}.weight"] = shapes[f"layers.{i}.{name}.bias"] = (WIDTH,)
    generator = torch.Generator().manual_seed(3)
    return {prefix + key: torch.randn(shape, generator=generator) * 0.1 for key, shape in shapes.items()}


def timm_state(sapiens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under timm's and MAE's names, with a class token, a head and a decoder that must not matter."""
    out = {}
    for key, value in sapiens.items():
        key = key.removeprefix("backbone.")
        key = key.replace("patch_embed.projection", "patch_embed.proj").replace("layers.0.0", "fc1!")
        for old, new in (("ffn.fc1!", "mlp.fc1"), ("ffn.layers.1", "mlp.fc2"), ("layers.", "blocks.")):
            key = key.replace(old, new)
        block = key.startswith("blocks.")
        out[key.replace("ln1", "norm1" if block else "norm").replace("ln2", "norm2")] = value
    out["pos_embed"] = torch.cat([torch.full((1, 1, WIDTH), 9.0), out["pos_embed"]], 1)
    out["cls_token"] = torch.zeros(1, 1, WIDTH)
    out["head.weight"] = torch.zeros(7, WIDTH)
    out["decoder_blocks.0.norm1.weight"] = torch.zeros(5)
    return out


def test_sapiens_and_timm_layouts_are_the_same_vit(tmp_path: Path) -> None:
    state = sapiens_state("backbone.", 16)
    save_file(state, tmp_path / "sapiens.safetensors")
    save_file(timm_state(state), tmp_path / "timm.safetensors")
    one, two = encoder(), encoder()
    before = {k: v.clone() for k, v in one.state_dict().items()}
    load_vit(one, tmp_path / "sapiens.safetensors")
    load_vit(two, tmp_path / "timm.safetensors", "imagenet")  # a learned position of the class token: not MAE's
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
        assert torch.equal(value, before[name]) == (name == "prompts"), name
    assert torch.equal(one.pos_embed, state["backbone.pos_embed"])
    assert torch.equal(one.blocks[1].mlp.fc2.weight, state["backbone.layers.1.ffn.layers.1.weight"])


def test_position_embedding_is_resized_and_keeps_its_shape() -> None:
    ramp = torch.linspace(0, 1, 8).repeat(6, 1)  # 6 rows, 8 columns: grows to the right
    position = ramp.flatten()[None, :, None].expand(1, 48, 4)
    same = resize_position(position, (6, 8), (96, 128))
    assert torch.equal(same, position)
    half = resize_position(position, (3, 4), (96, 128)).view(3, 4, 4)
    assert (half.diff(dim=1) > 0).all() and half.diff(dim=0).abs().max() < 1e-5
    with pytest.raises(SyncLipError, match="neither a square"):
        resize_position(torch.zeros(1, 47, 4), (3, 4), (96, 128))


def test_vit_that_does_not_fit_says_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "vit.safetensors"
    save_file(sapiens_state("backbone.", 16), file)
    deeper = VisualEncoder(VisualConfig(image_size=(64, 64), width=WIDTH, depth=3, heads=2))
    with pytest.raises(SyncLipError, match=r"2 layers, visual\.depth is 3"):
        load_vit(deeper, file)
    wider = VisualEncoder(VisualConfig(image_size=(64, 64), width=64, depth=2, heads=2))
    with pytest.raises(SyncLipError, match="the config makes it"):
        load_vit(wider, file)
    save_file({"lm_head.weight": torch.zeros(2)}, file)
    with pytest.raises(SyncLipError, match="no ViT in it"):
        load_vit(encoder(), file)
    with pytest.raises(SyncLipError, match=r"only \.safetensors"):
        load_vit(encoder(), tmp_path / "vit.pth")


def speech_model(kind: str, **settings: object) -> torch.nn.Module:
    config_class, model_class = (
        (transformers.HubertConfig, transformers.HubertModel)
        if kind == "hubert"
        else (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model)
    )
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 96}
    config = config_class(**sizes, conv_dim=[32] * 7, num_conv_pos_embedding_groups=4, **settings)
    torch.manual_seed(2)
    return model_class(config).eval()


LARGE = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
@pytest.mark.parametrize("settings", [{}, LARGE], ids=["base", "large"])
def test_speech_encoder_is_that_of_transformers(tmp_path: Path, kind: str, settings: dict) -> None:
    theirs = speech_model(kind, **settings)
    theirs.save_pretrained(tmp_path)
    audio = speech_config(tmp_path)
    assert (audio.front_end, audio.width, audio.depth) == (kind, 64, 3)
    ours = speech_front_end(SyncLipMAEConfig(audio=audio))
    load_speech_encoder(ours, tmp_path)
    wave = torch.randn(2, 10 * 640) * 0.1 + 0.02
    ours.train()  # stays in evaluation mode: frozen
    layers = ours(wave)
    assert [tuple(x.shape) for x in layers] == [(2, 10, 64)] * 3
    unit = (wave - wave.mean(1, keepdim=True)) / (wave.var(1, keepdim=True, unbiased=False) + 1e-7).sqrt()
    with torch.inference_mode():
        states = theirs(torch.nn.functional.pad(unit, (40, 40)), output_hidden_states=True).hidden_states
    for own, state in zip(layers, states, strict=True):
        torch.testing.assert_close(own, (state[:, ::2] + state[:, 1::2]) / 2, atol=1e-5, rtol=1e-4)
    assert not any(p.requires_grad for p in ours.parameters())


def test_speech_weights_alone_with_a_task_prefix_and_the_old_weight_norm(tmp_path: Path) -> None:
    state = speech_model("hubert", **LARGE).state_dict()
    old = {
        "hubert."
        + k.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): v.clone()
        for k, v in state.items()
        if k != "masked_spec_embed"
    }
    old["lm_head.weight"] = torch.zeros(3)
    file = tmp_path / "asr.safetensors"
    save_file(old, file)
    audio = speech_config(file)
    assert audio.front_end == "hubert" and audio.encoder["do_stable_layer_norm"]
    # these two cannot be read off the weights of so small a model
    audio.encoder.update(num_attention_heads=1, num_conv_pos_embedding_groups=4)
    encoder = SpeechEncoder(audio)
    load_speech_encoder(encoder, file)
    for key, value in state.items():
        if key != "masked_spec_embed":
            assert torch.equal(encoder.network.state_dict()[key], value), key
    del old["hubert.encoder.layer_norm.weight"]
    save_file(old, file)
    with pytest.raises(SyncLipError, match="no wav2vec2, HuBERT or Whisper"):
        speech_config(file)
    with pytest.raises(SyncLipError, match=r"encoder\.layer_norm\.weight is missing"):
        load_speech_encoder(encoder, file)


def test_other_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(SyncLipError, match="'bert'; expected wav2vec2, hubert or whisper"):
        speech_config(tmp_path)
    with pytest.raises(SyncLipError, match="which has no weights"):
        load_speech_encoder(speech_front_end(SyncLipMAEConfig(audio=AudioConfig(width=80, depth=4))), tmp_path)


def test_paper_profile_has_the_sizes_of_vitmae_b_and_wav2vec2_base() -> None:
    config = paper()
    with torch.device("meta"):
        mae = transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(num_hidden_layers=1)).decoder
        wav2vec2 = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config())
        decoder = Decoder(config.decoder, 768, 768, (14, 14), 16)
        speech = SpeechEncoder(config.audio)

    def count(parameters) -> int:
        return sum(p.numel() for p in parameters)

    # ours adds the prompts and the cross-attention; without them it is ViTMAE-B's decoder
    added = ("prompt_embed", "prompt_type", "cross_attn", "norm_cross")
    own = count(p for name, p in decoder.named_parameters() if not any(word in name for word in added))
    class_token_position = 512
    assert own == count(mae.parameters()) - class_token_position == 26_108_672
    assert count(speech.parameters()) == count(wav2vec2.parameters()) == 94_371_712
