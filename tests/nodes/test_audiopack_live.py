"""AudioPacks in a real ComfyUI: a small random Wan VACE, sampled with and without. Skipped without ComfyUI."""

import itertools
import os
import re
import shutil

import numpy as np
import pytest
import torch
from comfy_common import ROOT, running
from safetensors.torch import load_file, save_file
from torch import nn

from synclip_core.dubbing.audiopack import AudioPack, AudioPackConfig
from synclip_core.dubbing.audiopack_file import AudioPackFile, save_audiopack
from synclip_core.dubbing.control import control_of
from synclip_core.dubbing.injection import embedding_of, injected
from synclip_core.tokens.token_file import MASKS, write_tokens

DIM, MODEL = 12, "a" * 64
LENGTH, LATENTS = 17, 5
SALT = itertools.count()
PACKS = "zero", "trained", "video"


def network(kind):
    torch.manual_seed(3)
    place = "video" if kind == "video" else "vace"
    pack = AudioPack(AudioPackConfig(width=128, token_dim=DIM, profile="toy-12", hidden=16, inject_at=place)).eval()
    if kind != "zero":
        nn.init.normal_(pack.project.weight, std=0.3)
        nn.init.normal_(pack.missing)
    return pack


def stream(frames=60, seed=1):
    return np.random.default_rng(seed).standard_normal((frames, DIM), np.float32)


def put_tokens(path, values, mask=None, model=MODEL):
    mask = np.ones(len(values), bool) if mask is None else mask
    arrays = {name: values for name in ("audio", "vocal", "ambient")}
    write_tokens(path, arrays | {MASKS["audio"]: np.zeros(len(values), bool), MASKS["vocal"]: mask}, model, 1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("comfy")
    for name in ("custom_nodes", "models/synclip/audiopacks", "models/model_patches", "models/loras", "input"):
        (base / name).mkdir(parents=True)
    shutil.copyfile(ROOT / "tests" / "helpers" / "audiopack_helpers.py", base / "custom_nodes" / "helpers.py")
    for name in PACKS:
        folder = base / "models" / ("model_patches" if name == "video" else "synclip/audiopacks")
        save_audiopack(folder / f"{name}.safetensors", AudioPackFile(network(name), MODEL, {}))
    wide = AudioPack(AudioPackConfig(token_dim=DIM, profile="toy-12", hidden=16))
    save_audiopack(base / "models/model_patches/wide.safetensors", AudioPackFile(wide, MODEL, {}))
    save_file({"weight": torch.zeros(3)}, base / "models/model_patches/controlnet.safetensors")
    (base / "models/synclip/audiopacks/broken.safetensors").write_bytes(b"no safetensors")
    torch.manual_seed(9)
    lora = {}
    for key, size in (("blocks.1.self_attn.q", 128), ("vace_blocks.0.ffn.0", 128), ("vace_blocks.1.after_proj", 128)):
        lora[f"diffusion_model.{key}.lora_down.weight"] = torch.randn(2, size) * 0.3
        lora[f"diffusion_model.{key}.lora_up.weight"] = torch.randn(size, 2) * 0.3
    save_file(lora, base / "models/loras/lora.safetensors")
    put_tokens(base / "input" / "tokens.safetensors", stream())
    with running(base) as found:
        found.run({"1": {"class_type": "TestMakeModel", "inputs": {"name": "tiny", "seed": 4}}})
        yield found


class Graph(dict):
    """An API graph that is put together piece by piece; a piece is given by its link."""

    def add(self, kind, **inputs):
        name = str(len(self) + 1)
        self[name] = {"class_type": kind, "inputs": inputs}
        return [name, 0]

    def model(self, dtype="default", name="tiny.safetensors"):
        return self.add("UNETLoader", unet_name=name, weight_dtype=dtype)

    def tokens(self, kind="audio", file="tokens.safetensors"):
        return [self.add("SyncLipLoadTokens", file=file)[0], ("audio", "vocal", "identity", "ambient").index(kind)]

    def driven(self, model, pack="trained", tokens=None, **options):
        file = {"video": "video.safetensors", "wide": "wide.safetensors"}.get(pack, f"audiopacks/{pack}.safetensors")
        defaults = {
            "strength": 1.0,
            "start_percent": 0.0,
            "end_percent": 1.0,
            "audio_guidance": 1.0,
            "references": 0,
            "first_frame": 0,
        }
        audiopack = self.add("SyncLipLoadAudioPack", file=file)
        tokens = tokens or self.tokens()
        return self.add("SyncLipApplyAudioPack", model=model, audiopack=audiopack, tokens=tokens, **defaults | options)

    def sampled(self, model, *, cfg=1.0, batch=1, contexts=1, reference=False, length=LENGTH, steps=3):
        """Link of the saved latents."""
        positive, negative = (self.add("TestCondition", seed=seed, salt=next(SALT)) for seed in (1, 2))
        for seed in range(contexts):
            image = self.add("EmptyImage", width=64, height=64, batch_size=length, color=seed * 0x302010 + 0x405060)
            more = {"reference_image": image} if reference else {}
            vace = self.add(
                "WanVaceToVideo",
                positive=positive,
                negative=negative,
                vae=self.add("TestVae"),
                width=64,
                height=64,
                length=length,
                batch_size=batch,
                strength=1.0 - seed / 4,
                control_video=image,
                **more,
            )
            positive, negative, latent = ([vace[0], k] for k in range(3))
        sampled = self.add(
            "KSampler",
            model=model,
            seed=7,
            steps=steps,
            cfg=cfg,
            sampler_name="euler",
            scheduler="simple",
            positive=positive,
            negative=negative,
            latent_image=latent,
            denoise=1.0,
        )
        return self.add("SaveLatent", samples=sampled, filename_prefix="latents/test")


def latents(server, graph, *links):
    """What the SaveLatent nodes of a graph wrote: [B, 16, T', 8, 8] each."""
    outputs = server.run(graph)
    found = []
    for name, _ in links:
        entry = outputs[name]["latents"][0]
        found.append(load_file(server.base / "output" / entry["subfolder"] / entry["filename"])["latent_tensor"])
    return found


def with_and_without(server, pack="trained", prepare=lambda graph, model: model, drive=None, **sampling):
    """Latents of a model without and with an AudioPack; prepare: what stands before it in both."""
    graph = Graph()
    model = prepare(graph, graph.model())
    driven = graph.driven(model, pack, **(drive or {}))
    return latents(server, graph, graph.sampled(model, **sampling), graph.sampled(driven, **sampling))


def lora(graph, model):
    return graph.add("LoraLoaderModelOnly", model=model, lora_name="lora.safetensors", strength_model=1.0)


def bf16(graph, model):
    return graph.add("ModelComputeDtype", model=model, dtype="bf16")


CASES = {
    "cfg 1": {},
    "cfg and its batch": {"cfg": 4.0},
    "batch of two": {"cfg": 4.0, "batch": 2},
    "two contexts": {"cfg": 4.0, "contexts": 2, "batch": 2},
    "reference": {"reference": True, "drive": {"references": 1}},
    "bf16": {"cfg": 4.0, "prepare": bf16},
    "lora": {"prepare": lora},
    "guidance": {"drive": {"audio_guidance": 3.0}},
    "part of sampling": {"drive": {"start_percent": 0.2, "end_percent": 0.8}},
    "long": {"length": 81},
}


@pytest.mark.parametrize("case", CASES)
def test_an_untrained_audiopack_changes_nothing_and_a_trained_one_does(server, case):
    stock, same = with_and_without(server, "zero", **CASES[case])
    assert torch.equal(stock, same) and stock.std() > 0.1 and stock.isfinite().all()
    stock, other = with_and_without(server, "trained", **CASES[case])
    assert torch.equal(stock, same) and (other - stock).abs().amax(dim=(1, 2, 3, 4)).min() > 1e-3


def test_weights_in_fp8_take_it_too(server):
    graph = Graph()
    model = graph.model("fp8_e4m3fn")
    links = [graph.sampled(m, cfg=4.0) for m in (model, graph.driven(model, "zero"), graph.driven(model))]
    stock, zero, trained = latents(server, graph, *links)
    assert torch.equal(stock, zero) and not torch.equal(stock, trained)


def test_a_lora_acts_the_same_before_and_after_it(server):
    graph = Graph()
    model = graph.model()
    before, after = graph.driven(lora(graph, model)), lora(graph, graph.driven(model))
    first, second, without = latents(server, graph, *map(graph.sampled, (before, after, graph.driven(model))))
    assert torch.equal(first, second) and not torch.equal(first, without)


def test_models_do_not_mix_and_survive_unloading(server):
    """One loaded model drives three samplers in turn; later it is unloaded and comes back."""
    graph = Graph()
    model = graph.model()
    voice, other = graph.driven(model), graph.driven(model, first_frame=20)
    shifted = graph.add("ModelSamplingSD3", model=voice, shift=3.0)  # a clone of a driven model
    links = [graph.sampled(m) for m in (model, voice, model, other, shifted, voice)]
    stock, first, again, second, moved, last = latents(server, graph, *links)
    assert torch.equal(stock, again) and torch.equal(first, last)
    assert len({str(t.sum()) for t in (stock, first, second, moved)}) == 4
    server.json("/free", {"unload_models": True, "free_memory": True})
    assert all(map(torch.equal, latents(server, graph, *links), (stock, first, again, second, moved, last)))


def test_strength_guidance_and_tokens_act(server):
    graph = Graph()
    model = graph.model()
    variants = {
        "stock": model,
        "off": graph.driven(model, strength=0.0),
        "one": graph.driven(model),
        "half": graph.driven(model, strength=0.5),
        "guided": graph.driven(model, audio_guidance=2.0),
        "vocal": graph.driven(model, tokens=graph.tokens("vocal")),
        "video": graph.driven(model, "video"),
        "twice": graph.driven(graph.driven(model, strength=0.5), strength=0.5),
        "later": graph.driven(model, first_frame=8),
    }
    found = dict(zip(variants, latents(server, graph, *map(graph.sampled, variants.values())), strict=True))
    assert torch.equal(found["off"], found["stock"])
    assert torch.equal(found["vocal"], found["one"])  # the same numbers by another door
    torch.testing.assert_close(found["twice"], found["one"], atol=1e-4, rtol=1e-4)  # two of them add up

    def change(name):
        return float((found[name] - found["stock"]).square().mean())

    assert 0 < change("half") < change("one") < change("guided")
    assert len({str(found[name].sum()) for name in ("stock", "one", "half", "guided", "video", "later")}) == 6


def test_guidance_goes_on_from_the_undriven_result(server):
    """One step of Euler is linear in the model's output, so guidance is too."""
    graph = Graph()
    model = graph.model()
    links = [graph.sampled(m, steps=1) for m in (model, graph.driven(model), graph.driven(model, audio_guidance=2.5))]
    plain, driven, pushed = latents(server, graph, *links)
    torch.testing.assert_close(pushed, plain + 2.5 * (driven - plain), atol=1e-4, rtol=1e-4)


def test_a_cache_of_steps_may_stand_before_or_after_it(server):
    graph = Graph()
    options = {"reuse_threshold": 1.0, "start_percent": 0.15, "end_percent": 0.95, "verbose": False}

    def cached(model):
        return graph.add("EasyCache", model=model, **options)

    def driven(model, pack):
        return graph.driven(model, pack, audio_guidance=2.0)

    model = graph.model()
    variants = [cached(model), cached(driven(model, "zero")), driven(cached(model), "zero")]
    variants += [cached(driven(model, "trained")), driven(cached(model), "trained"), driven(model, "trained")]
    found = latents(server, graph, *(graph.sampled(m, cfg=3.0, steps=10) for m in variants))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert torch.equal(found[3], found[4]) and not torch.equal(found[3], found[0])
    assert not torch.equal(found[3], found[5]), "nothing was cached"


def test_the_range_of_sampling_is_kept_and_follows_the_shift(server):
    graph = Graph()
    model = graph.model()
    early, late = graph.driven(model, end_percent=0.5), graph.driven(model, start_percent=0.5)
    both, whole = graph.driven(early, start_percent=0.5), graph.driven(model)
    never = graph.driven(model, start_percent=0.999)
    first, second, joined, full, none, stock = latents(
        server, graph, *(graph.sampled(m, steps=4) for m in (early, late, both, whole, never, model))
    )
    assert torch.equal(joined, full) and torch.equal(none, stock)
    assert len({str(t.sum()) for t in (first, second, full, stock)}) == 4
    shifted = [graph.add("ModelSamplingSD3", model=m, shift=20.0) for m in (model, late)]
    before = graph.driven(shifted[0], start_percent=0.5)
    here, there = latents(server, graph, *(graph.sampled(m, steps=4) for m in (shifted[1], before)))
    assert torch.equal(here, there)


def logged(server):
    """What the node has written to the server's log, at least of late."""
    lines = [entry["m"] for entry in server.json("/internal/logs/raw")["entries"]]
    return [line for line in lines if line.startswith("Apply AudioPack")]


def test_frames_without_tokens_are_counted_once_a_run(server):
    values, seen = stream(), np.ones(60, bool)
    seen[4:6] = False
    put_tokens(server.base / "input" / "gaps.safetensors", values, seen)
    for kind, options, words in (
        ("audio", {"first_frame": 50}, "7 of the video's 17 frames have no token (the tokens reach for 10 frames"),
        ("vocal", {}, "2 of the video's 17 frames have no token"),
        ("audio", {}, ""),
    ):
        before = len(logged(server))
        graph = Graph()
        driven = graph.driven(graph.model(), tokens=graph.tokens(kind, "gaps.safetensors"), **options)
        latents(server, graph, graph.sampled(driven, cfg=4.0))
        said = logged(server)[before:]
        assert len(said) == bool(words) and all(words in line for line in said), said


def test_wrong_parts_are_refused_by_name(server):
    put_tokens(server.base / "input" / "foreign.safetensors", stream(), model="b" * 64)

    def words(make):
        graph = Graph()
        graph.sampled(make(graph))
        return server.fail(graph)

    assert "goes into a Wan VACE model, and this is a WanModel" in words(
        lambda g: g.driven(g.model(name="tiny_plain.safetensors"))
    )
    assert "this one has 128" in words(lambda g: g.driven(g.model(), "wide"))
    said = words(lambda g: g.driven(g.model(), tokens=g.tokens(file="foreign.safetensors")))
    assert "profile toy-12 (checkpoint aaaaaaaaaaaa" in said and "checkpoint bbbbbbbbbbbb" in said
    assert "got ambient tokens" in words(lambda g: g.driven(g.model(), tokens=g.tokens("ambient")))
    assert "no frame from 60 on has a token" in words(lambda g: g.driven(g.model(), first_frame=60))
    assert "broken.safetensors" in words(lambda g: g.driven(g.model(), "broken"))
    with pytest.raises(RuntimeError, match="is not there"):
        words(lambda g: g.driven(g.model(), "gone"))
    graph = Graph()  # what the list of a server without any AudioPack offers
    empty = graph.add(
        "SyncLipLoadAudioPack", file="(no AudioPack in models/model_patches or models/synclip/audiopacks)"
    )
    driven = graph.driven(graph.model())
    graph[driven[0]]["inputs"]["audiopack"] = empty
    graph.sampled(driven)
    with pytest.raises(RuntimeError, match="no AudioPack was found: put"):
        server.queue(graph)


def test_the_list_holds_audiopacks_and_no_other_patches(server):
    (kind, spec) = server.json("/object_info/SyncLipLoadAudioPack")["SyncLipLoadAudioPack"]["input"]["required"]["file"]
    options = spec["options"] if kind == "COMBO" else kind
    mine = [f"audiopacks/{name}.safetensors" for name in ("broken", "trained", "zero")]
    assert [name.replace("\\", "/") for name in options] == [*mine, "video.safetensors", "wide.safetensors"]


# ---- the transformer itself --------------------------------------------------------------------------------------


def inputs(rows=2, frames=LATENTS, contexts=1):
    made = torch.Generator().manual_seed(5)
    return {
        "x": torch.randn(rows, 16, frames, 8, 8, generator=made),
        "vace_context": torch.randn(rows, contexts, 96, frames, 8, 8, generator=made),
        "timestep": torch.full((rows,), 500.0),
        "context": torch.randn(rows, 7, 4096, generator=made),
    }


def called(server, given, window="", pack="trained", **options):
    """What the transformer says to those tensors, with an AudioPack; pack=None: without."""
    file = server.base / "temp" / f"call{len(list((server.base / 'temp').iterdir()))}"
    save_file(given, file)
    graph = Graph()
    model = graph.model()
    model = model if pack is None else graph.driven(model, pack, **options)
    graph.add("TestCall", model=model, file=str(file), window=window)
    server.run(graph)
    return load_file(f"{file}.out")["out"]


def test_a_context_window_gets_its_part_of_the_control(server):
    """Two windows give the same where the same latent frames of the clip stand in them, references included.

    v0.3.64 cannot sample Wan VACE in windows (the next test), so the transformer is called as sampling would.
    """
    given = inputs(frames=4)

    def window(indices, pack="trained", **options):
        return called(server, given, indices, pack, **options)

    whole, stock = window("", references=1), window("", None)
    assert torch.equal(window("0,1,2,3", references=1), whole)
    assert torch.equal(window("0,1,2,3", references=4), stock)  # references alone
    assert torch.equal(window("1,2,3,4", references=1), window("0,1,2,3")) and not torch.equal(window(""), whole)
    assert torch.equal(window("6,7,8,9", references=1), window("5,6,7,8"))
    looped = window("8,9,0,1")
    assert torch.equal(looped, window("9,10,1,2", references=1)) and not torch.equal(looped, window("0,1,8,9"))
    assert torch.equal(window("0+7,8,9"), window("0,7,8,9"))
    assert torch.equal(window("90,91,92,93"), window("191,192,193,194"))  # past the tokens all frames are alike
    assert not torch.equal(window("90,91,92,93"), stock)
    graph = Graph()
    file = server.base / "temp" / "odd"
    save_file(given, file)
    graph.add("TestCall", model=graph.driven(graph.model()), file=str(file), window="1,2,3")
    assert "a context window of 3 latent frames came with 4 of them" in server.fail(graph)


def test_sampling_in_windows_works_or_says_why_not(server):
    """Core of 0.8.0 cuts VACE conditioning into windows; in v0.3.64, sampling in windows fails without us too."""
    graph = Graph()
    windows = {"context_length": 21, "context_overlap": 9, "context_schedule": "standard_static", "context_stride": 1}
    windows |= {"closed_loop": False, "fuse_method": "pyramid"}
    model = graph.add("WanContextWindowsManual", model=graph.model(), **windows)
    stock = graph.sampled(model, length=81)
    try:
        plain = latents(server, graph, stock)[0]
    except AssertionError:
        graph = Graph()
        model = graph.add("WanContextWindowsManual", model=graph.model(), **windows)
        graph.sampled(graph.driven(model), length=81)
        assert "older ComfyUIs do not cut Wan VACE conditioning" in server.fail(graph)
    else:
        links = [graph.sampled(graph.driven(model, pack), length=81) for pack in ("zero", "trained")]
        zero, trained = latents(server, graph, *links)
        assert torch.equal(zero, plain) and not torch.equal(trained, plain)


@pytest.mark.parametrize("pack", ["trained", "video"])
@torch.inference_mode()
def test_comfyui_and_diffusers_agree(server, pack):
    diffusers = pytest.importorskip("diffusers")
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    sizes = {"num_attention_heads": 1, "attention_head_dim": 128, "num_layers": 4, "ffn_dim": 128, "text_dim": 4096}
    twin = diffusers.WanVACETransformer3DModel(**sizes, vace_layers=[0, 2], vace_in_channels=96).eval()
    state = load_file(server.base / "models/diffusion_models/tiny.safetensors")
    twin.load_state_dict(convert_wan_transformer_to_diffusers(dict(state)))
    given = inputs()
    same = {
        "hidden_states": given["x"],
        "timestep": given["timestep"],
        "encoder_hidden_states": given["context"],
        "control_hidden_states": given["vace_context"][:, 0],
    }
    plain = twin(**same).sample
    torch.testing.assert_close(called(server, given, pack=None), plain, atol=1e-4, rtol=0)
    control = control_of(network(pack), torch.from_numpy(stream()), torch.ones(60, dtype=torch.bool), 3)
    with injected(embedding_of(twin, network(pack).config.inject_at), control.on(LATENTS, 1)):
        want = twin(**same).sample
    found = called(server, given, pack=pack, references=1, first_frame=3)
    assert (want - plain).abs().max() > 0.05
    torch.testing.assert_close(found, want, atol=1e-4, rtol=0)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.skipif(not os.environ.get("SYNCLIP_SLOW"), reason="minutes: SYNCLIP_SLOW=1 runs it")
def test_a_compiled_model_takes_it(server):
    graph = Graph()
    model = graph.model()

    def compiled(link):
        return graph.add("TorchCompileModel", model=link, backend="inductor")

    variants = [
        model,
        graph.driven(model),
        compiled(model),
        compiled(graph.driven(model)),
        graph.driven(compiled(model)),
        compiled(graph.driven(model, start_percent=0.4)),
        graph.driven(model, start_percent=0.4),
        compiled(graph.driven(model, first_frame=8)),
        graph.driven(model, first_frame=8),
    ]
    stock, driven, *rest = latents(server, graph, *map(graph.sampled, variants))
    for found, want in zip(rest, (stock, driven, driven, rest[4], rest[4], rest[6], rest[6]), strict=True):
        torch.testing.assert_close(found, want, atol=1e-3, rtol=1e-3)
    assert not re.search("recompile_limit", server.log.read_text())
