"""A video model that is driven by an AudioPack: a wrapper around its transformer, which itself is not touched."""

import logging
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...synclip_core.dubbing.audiopack import FRAMES_PER_LATENT
from ...synclip_core.dubbing.audiopack_file import AudioPackFile
from ...synclip_core.dubbing.control import Control
from ...synclip_core.dubbing.injection import embedding_of, guided, injected
from ...synclip_core.errors import SyncLipError
from ..shared.values import Tokens

KEY = "synclip"
KINDS = ("audio", "vocal")  # of tokens that say what the mouth does


@dataclass(eq=False)
class Drive:
    """What one Apply AudioPack adds to a model.

    start, end: the share of sampling within which it acts; guidance: see `guided`; references: latent frames in front
    of the video; inject_at: of the AudioPack.
    """

    control: Control
    inject_at: str
    references: int
    start: float
    end: float
    guidance: float
    sigmas: tuple[float, float] = field(default=(float("inf"), 0.0), init=False)

    def added_to(self, model: Any) -> Any:
        """A clone of the MODEL with this drive, after those that it has."""
        driven = model.clone()
        self.begin(driven)
        driven.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, self.sample)
        driven.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, self.denoise)
        return driven

    def begin(self, model: Any) -> None:
        """Shares of sampling as noise levels of this MODEL: a node after ours may have changed its shift."""
        sampling = model.get_model_object("model_sampling")
        self.sigmas = float(sampling.percent_to_sigma(self.start)), float(sampling.percent_to_sigma(self.end))

    def sample(self, executor: Any, noise: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Once a sampling."""
        self.begin(executor.class_obj.model_patcher)
        go_innermost(executor.class_obj.model_options)
        frames = 1 + (noise.shape[2] - self.references - 1) * FRAMES_PER_LATENT
        if (missing := self.control.without_token(frames)) > 0:
            logging.warning(
                f"Apply AudioPack: {missing} of the video's {frames} frames have no token (the tokens reach for "
                f"{len(self.control.valid)} frames at 25 fps); what the mouth does there is the model's guess"
            )
        return executor(noise, *args, **kwargs)

    def denoise(self, executor: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Once a call of the transformer. x: [B, 16, T', H, W], prompts and negative prompts alike."""
        options = next(value for value in (kwargs.get("transformer_options"), *args[::-1]) if isinstance(value, dict))
        if not self.acts(options):
            return executor(x, *args, **kwargs)
        control = self.on_latents(x.shape[2], options)
        check_length(x, kwargs.get("vace_context"))
        embedding = embedding_of(executor.class_obj, self.inject_at)
        plain = executor(x, *args, **kwargs) if self.guidance != 1 else None
        with injected(embedding, control):
            driven = executor(x, *args, **kwargs)
        return driven if plain is None else guided(plain, driven, self.guidance)

    def acts(self, options: dict[str, Any]) -> bool:
        """Whether the present step lies in the range."""
        if self.start <= 0 and self.end >= 1:  # without waiting for the device
            return True
        high, low = self.sigmas
        return low < float(options["sigmas"].max()) <= high

    def on_latents(self, length: int, options: dict[str, Any]) -> Tensor:
        """Control of the clip, or of the context window that is being denoised."""
        window = options.get("context_window")
        if window is None:
            return self.control.on(length, self.references)
        anchor = getattr(window, "causal_anchor_index", None)  # newer ComfyUIs put a frame before the window
        anchored = anchor is not None and anchor >= 0
        latents = [*([anchor] if anchored else []), *window.index_list]
        if len(latents) != length:
            raise SyncLipError(f"a context window of {len(latents)} latent frames came with {length} of them")
        return self.control.on(max(latents) + 1, self.references, latents)


def driving(node: str, model: Any, audiopack: AudioPackFile, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """The tokens [T, D] and which frames have one, bool [T]. Raises SyncLipError where model, AudioPack and tokens do
    not belong together. node: for the message."""
    if tokens.kind not in KINDS:
        raise SyncLipError(
            f"{node}: got {tokens.kind} tokens, which do not say what the mouth does; connect audio_tokens of Encode "
            "Audio Tokens or vocal_tokens of Encode Vocal-Motion Tokens."
        )
    audiopack.check(tokens.model, tokens.values.shape[1])
    audiopack.check_width(embedding_of(model.get_model_object("diffusion_model"), "vace").out_channels)
    # silence has a token too; only where no face was seen there is none
    valid = tokens.mask if tokens.kind == "vocal" else torch.ones(len(tokens.values), dtype=torch.bool)
    return torch.as_tensor(tokens.values), torch.as_tensor(valid)


def go_innermost(options: dict[str, Any]) -> None:
    """Other wrappers (EasyCache) remember the last call of the model: both calls of guidance must lie within theirs."""
    wrappers = options.get("transformer_options", {}).get("wrappers", {}).get(WrappersMP.DIFFUSION_MODEL, {})
    if KEY in wrappers:
        wrappers[KEY] = wrappers.pop(KEY)


def check_length(x: Tensor, context: Tensor | None) -> None:
    """context: the VACE conditioning [B, contexts, 96, T', H, W] of x [B, 16, T', H, W]."""
    if context is not None and context.shape[3] != x.shape[2]:
        raise SyncLipError(
            f"the VACE conditioning is of {context.shape[3]} latent frames, the latents are of {x.shape[2]}: take both "
            "from one node. With context windows: older ComfyUIs do not cut Wan VACE conditioning into windows, which "
            "fails without an AudioPack too; update ComfyUI, or generate in parts (first_frame)"
        )
