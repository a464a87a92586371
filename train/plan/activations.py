"""Memory of what the forward pass keeps for the backward pass, in closed form.

After Korthikanti et al. 2022 ("Reducing Activation Recomputation in Large Transformer Models"), equation 1: a layer of
16-bit activations keeps s b h (34 + 5 a s / h) bytes. Without its dropout masks (2 s b h) and with fused attention,
which keeps no s x s matrix, 32 s b h remain; autocast keeps the residual stream in fp32: 36 s b h. `block` says it for
other precisions, MLP ratios and the decoder's cross-attention. With checkpointing a block keeps its input alone
(section 5 there, "full recomputation"), and one block at a time is whole again during the backward pass. What one
block's backward pass works on, the gradients of its widest tensors, comes on top.
"""

import math

from synclip_core.models.config import SyncLipMAEConfig, VisualConfig
from synclip_core.models.masking import visible_count
from train.pretrain.config import StageConfig

from .states import Precision

PROMPTS = 3


def block(width: int, heads: int, ratio: float, precision: Precision, cross: bool = False) -> float:
    """Bytes a token. A sublayer keeps the norm's input and output; attention q, k, v, its result and the fp32 sum of
    each row; the MLP both sides of GELU. Cross-attention makes no keys and values of its tokens."""
    residual, inner = precision.residual, precision.inner
    attention = residual * width + inner * width * 5 + 4 * heads
    mlp = residual * width + inner * width * (1 + 2 * ratio)
    return attention + mlp + cross * (residual * width + inner * width * 3 + 4 * heads)


def transformer(
    tokens: int,
    depth: int,
    width: int,
    heads: int,
    ratio: float,
    precision: Precision,
    checkpointing: bool,
    cross: bool = False,
) -> tuple[float, float]:
    """Bytes of all blocks, and what the one in its backward pass needs: the gradients of the stream and of both sides
    of GELU, and with checkpointing all that it did not keep."""
    whole = tokens * block(width, heads, ratio, precision, cross)
    gradients = tokens * width * 2 * (precision.residual + ratio * precision.inner)
    if checkpointing:
        return depth * tokens * width * precision.residual, whole + gradients
    return depth * whole, gradients


def temporal(tokens: int, width: int, depth: int, precision: Precision) -> float:
    """TemporalBlock: the norm's input and output, both sides of GELU."""
    return depth * tokens * width * (precision.residual + 3 * precision.inner)


def stem(config: VisualConfig, precision: Precision) -> float:
    """Bytes a frame of the patch embedding's input; a convolutional stem keeps three maps a stage: into the norm, into
    GELU and out."""
    pixels = 3 * math.prod(config.image_size)
    if config.stem != "conv":
        return pixels * precision.inner
    maps, stride = 0.0, 1
    for width, step in zip(config.stem_widths, config.stem_strides, strict=True):
        stride *= step
        maps += 3 * width * math.prod(config.image_size) / stride**2
    return (pixels + maps) * precision.residual


def encoder(config: VisualConfig, mask_ratio: float, precision: Precision, checkpointing: bool) -> tuple[float, float]:
    """Bytes a frame of one bypass: kept, and at work in the backward pass of a block or of the stem."""
    patches = math.prod(config.image_size) // config.patch_size**2
    tokens = visible_count(patches, mask_ratio) + PROMPTS
    kept, at_work = transformer(
        tokens, config.depth, config.width, config.heads, config.mlp_ratio, precision, checkpointing
    )
    if config.stem == "conv":
        widest = config.stem_widths[0] * math.prod(config.image_size) / config.stem_strides[0] ** 2
        at_work = max(at_work, 2 * widest * precision.residual)
    return kept + tokens * config.width * precision.residual + stem(config, precision), at_work


def decoder(model: SyncLipMAEConfig, precision: Precision, checkpointing: bool) -> tuple[float, float]:
    """Bytes a frame of both decodings, with the errors of all pixels (fp32): kept, and at work in the backward pass."""
    visual, config = model.visual, model.decoder
    patches = math.prod(visual.image_size) // visual.patch_size**2
    tokens = patches + (0 if config.cross_attention else PROMPTS)
    kept, at_work = transformer(
        tokens,
        config.depth,
        config.width,
        config.heads,
        config.mlp_ratio,
        precision,
        checkpointing,
        cross=config.cross_attention,
    )
    ends = visible_count(patches, visual.mask_ratio) * visual.width * precision.inner  # into the embedding
    ends += patches * config.width * (precision.residual + precision.inner)  # into the last norm and the head
    return 2 * (kept + ends + 4 * 3 * math.prod(visual.image_size)), at_work


def tokens_of_both(model: SyncLipMAEConfig, precision: Precision) -> float:
    """Bytes a frame of the audio adapter and the vocal head, with the frozen encoder's layers as adapter's input."""
    audio, vocal, inner = model.audio, model.vocal, precision.inner
    features = audio.width * (audio.depth if audio.layers == "all" else 1)
    kept: float = inner * (features + audio.adapter_width + model.visual.width + vocal.context_width)
    kept += temporal(1, audio.adapter_width, audio.adapter_depth, precision)
    kept += temporal(1, vocal.context_width or model.visual.width, vocal.context_depth, precision)
    return kept + 6 * model.dim * precision.residual  # norms, unit vectors and projections of the tokens


def contrast(tokens: int, gpus: int) -> float:
    """Bytes of the square of similarities: logits, four masked copies and one at work in fp32, four masks of a byte.
    With the tokens of N GPUs, N squares for each of both directions."""
    return 28.0 * tokens**2 * (1 if gpus == 1 else 2 * gpus)


def activations(
    model: SyncLipMAEConfig, stage: StageConfig, precision: Precision, checkpointing: bool, gpus: int = 1
) -> float:
    """Bytes of one step on one GPU when its backward pass begins, plus the block at work."""
    frames = stage.clips * stage.frames
    if stage.learn == "alignment":
        return frames * tokens_of_both(model, precision) + contrast(frames, gpus)
    pixels = 4 * 3 * math.prod(model.visual.image_size)  # the batch's own frames, before the jitter
    kept, at_work = encoder(model.visual, model.visual.face_mask_ratio, precision, checkpointing)
    total, largest = frames * (kept + pixels), frames * at_work
    if stage.learn == "vision":
        return total + largest
    total += frames * tokens_of_both(model, precision) + contrast(frames, gpus)
    chosen = stage.clips * min(stage.reconstruct, stage.frames)
    kept, at_work = encoder(model.visual, model.visual.mask_ratio, precision, checkpointing)
    total, largest = total + chosen * (kept + pixels), max(largest, chosen * at_work)  # `pixels`: the target's patches
    kept, at_work = decoder(model, precision, checkpointing)
    return total + chosen * kept + max(largest, chosen * at_work)
