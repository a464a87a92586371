"""What a studio switches on: adapters, a cache of latents, a text, further losses, several processes."""

import subprocess
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file

pytest.importorskip("diffusers")
from dubbing_runs import CONFIG, SIZE, on, write_data  # noqa: E402

from benchmarks.kills import processes  # noqa: E402
from synclip_core.checkpoint import load_checkpoint
from synclip_core.dubbing.linear_vae import load_linear_vae  # noqa: E402
from synclip_core.errors import SyncLipError  # noqa: E402
from synclip_core.files.safetensors_file import save_safetensors  # noqa: E402
from synclip_core.files.settings import to_dict  # noqa: E402
from train.dubbing.config import DubLossConfig  # noqa: E402
from train.dubbing.dubber import Dubber, Segment  # noqa: E402
from train.dubbing.export import load_trained  # noqa: E402
from train.dubbing.finetune import Run, finetune  # noqa: E402
from train.dubbing.latents import CachedCodec  # noqa: E402
from train.dubbing.wan.encode_prompt import encode_prompt  # noqa: E402
from train.dubbing.wan.patches import apply_patch  # noqa: E402
from train.dubbing.wan.transformers import open_transformer  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Weights in ComfyUI's layout, as random as the day they were made."""
    from train.dubbing.wan.layouts import to_comfy

    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("wan") / "wan.safetensors"
    state = open_transformer(CONFIG).state_dict()
    save_safetensors(path, {k: (v + 0.05 * torch.randn_like(v)).contiguous() for k, v in to_comfy(state).items()}, {})
    return path


@pytest.mark.parametrize("trained", ["vace", "lora"])
def test_a_patch_on_the_published_weights_is_what_was_trained(data, published, tmp_path, trained):
    pytest.importorskip("peft")
    config = on(data, trained=trained, lora_rank=4, lr=1e-2, transformer_path=str(published))
    finetune(config, tmp_path)
    run = Run(config, load_checkpoint(), tmp_path)
    run.resume()
    again = load_trained(tmp_path, str(data / "vae.safetensors"), str(published)).dubber
    random = torch.Generator().manual_seed(0)
    noisy, context = (torch.randn(2, channels, 3, 4, 4, generator=random) for channels in (16, 96))
    tokens, valid = torch.randn(2, 7, 128, generator=random), torch.ones(2, 7, dtype=torch.bool)
    segment = Segment(noisy, context, torch.ones(1), tokens, valid, references=1)
    before = Dubber(open_transformer(config), again.pack)
    level = torch.tensor([0.3, 0.8])
    with torch.inference_mode():
        said, same, first = (d.velocity(noisy, level, segment) for d in (run.average, again, before))
    torch.testing.assert_close(same, said, atol=2e-3, rtol=2e-3)
    assert (said - first).abs().max() > 0.02
    original, patched = open_transformer(config).state_dict(), again.transformer.state_dict()
    moved = {name for name, value in original.items() if not torch.equal(value, patched[name])}
    assert moved and all(name.startswith("vace_") for name in moved)
    if trained == "lora":
        size = (tmp_path / "vace_lora.safetensors").stat().st_size
        assert size < published.stat().st_size / 4
        assert all(".lora_" in name for name in load_file(tmp_path / "vace_lora.safetensors"))
    smaller = open_transformer(replace(CONFIG, transformer=replace(CONFIG.transformer, ffn=32)))
    with pytest.raises(SyncLipError, match="other sizes"):
        apply_patch(smaller, next(tmp_path.glob("vace_*.safetensors")))


def test_latents_are_computed_once_and_a_full_cache_changes_nothing(data, tmp_path):
    codec = load_linear_vae(data / "vae.safetensors")
    calls = []
    encode = codec.encode
    codec.encode = lambda frames: calls.append(len(frames)) or encode(frames)
    frames = torch.rand(3, 5, SIZE, SIZE, 3)
    cached = CachedCodec(codec, tmp_path, most_gb=1)
    first = cached.encode(frames)
    torch.testing.assert_close(first, encode(frames), atol=2e-3, rtol=2e-3)
    assert torch.equal(CachedCodec(codec, tmp_path, 1).encode(frames.flip(0)), first.flip(0)) and calls == [1, 1, 1]
    damaged = next(next(tmp_path.iterdir()).iterdir())
    damaged.write_bytes(b"no")
    assert torch.equal(cached.encode(frames), first) and len(calls) == 4
    assert torch.equal(CachedCodec(codec, tmp_path / "full", 0.0).encode(frames), first)
    assert not list(next((tmp_path / "full").iterdir()).iterdir())
    codec.bias += 1.0  # another VAE
    CachedCodec(codec, tmp_path, 1).encode(frames[:1])
    assert len(list(tmp_path.iterdir())) == 3


def test_a_run_with_everything_on_goes_on_after_a_cut(data, tmp_path):
    torch.manual_seed(1)
    save_safetensors(tmp_path / "p.safetensors", {"prompt": torch.randn(7, 16)}, {})
    losses = DubLossConfig(reconstruction=0.5, sync=0.5, contrastive=0.01, margin=0.1, below=1.0)
    config = on(data, prompt=str(tmp_path / "p.safetensors"), losses=losses)
    config = replace(config, data=replace(config.data, stride=4, latents_gb=1.0))
    finetune(config, tmp_path / "whole")
    finetune(config, tmp_path / "cut", stop_at=4)
    finetune(config, tmp_path / "cut")
    whole, cut = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert any((tmp_path / "whole" / "latents").rglob("*.safetensors"))
    dubber = load_trained(tmp_path / "whole", str(data / "vae.safetensors")).dubber
    assert torch.equal(dubber.prompt, load_file(tmp_path / "p.safetensors")["prompt"])
    with pytest.raises(SyncLipError, match="takes rows of 16"):
        save_safetensors(tmp_path / "q.safetensors", {"prompt": torch.randn(7, 8)}, {})
        finetune(replace(config, prompt=str(tmp_path / "q.safetensors")), tmp_path / "other")


def test_losses_on_the_picture_move_the_weights(data, tmp_path):
    finetune(on(data, steps=2), tmp_path / "plain")
    finetune(on(data, steps=2, losses=DubLossConfig(sync=5.0, below=1.0)), tmp_path / "sync")
    plain, sync = (load_file(tmp_path / name / "last.safetensors") for name in ("plain", "sync"))
    assert not torch.equal(plain["model.transformer.proj_out.weight"], sync["model.transformer.proj_out.weight"])


def test_two_processes_take_the_step_of_one(data, tmp_path):
    """The first moment after one step is a tenth of the clipped gradient; Adam's step itself would hide its size."""
    pytest.importorskip("deepspeed")
    config = on(data, steps=1)
    finetune(config, tmp_path / "one")
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(to_dict(replace(config, clips=2))))
    arguments = ["--config", str(path), "--out", str(tmp_path / "two")]
    arguments += ["--deepspeed", "train/configs/deepspeed/zero2.json"]
    program, pipes = "train.finetune_dubbing", {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    running = processes(arguments, 2, program, **pipes, text=True)
    said = [process.communicate(timeout=300)[0][-3000:] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n----\n".join(said)
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    moments = [name for name in one if name.endswith(".exp_avg")]
    for name in moments:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-7, msg=name)
    assert max(float(one[name].abs().max()) for name in moments) > 1e-3


def test_a_text_is_encoded_as_wan_wants_it(tmp_path):
    from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

    pieces = ["<pad>", "</s>", "<unk>", "▁a", "▁face", "▁speaks", "▁to", "▁us"]
    T5Tokenizer(vocab=[(piece, 0.0) for piece in pieces], extra_ids=0).save_pretrained(tmp_path / "tokenizer")
    torch.manual_seed(0)
    sizes = dict(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    UMT5EncoderModel(UMT5Config(**sizes)).save_pretrained(tmp_path / "text_encoder")
    short, long = (encode_prompt(tmp_path, text) for text in ("a face", "a face speaks to us"))
    assert short.shape == (512, 16)
    used = [int((text != 0).any(1).sum()) for text in (short, long)]
    assert used == [3, 6] and (short[used[0] :] == 0).all()
    with pytest.raises(SyncLipError, match="no text encoder of Wan"):
        encode_prompt(tmp_path / "elsewhere", "a face")
