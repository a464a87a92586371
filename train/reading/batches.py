"""What the lip reader learns from: stretches of utterances at other speeds, joined and cut, parts of them hidden."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from synclip_core.clock import TICK, TICK_RATE
from synclip_core.models.synclipmae import ContextHead, VocalHead, normalise
from train.reading.config import VsrDataConfig
from train.reading.features import Utterance
from train.reading.units import Speller


@dataclass
class VsrBatch:
    """look: float32 [B, T, width], prompts, each clip's mean taken out where the head does that; or, where the visual
    encoder learns, uint8 [B, T, S, S, 3], crops with `margin` around the face. valid: bool [B, T]; hidden: bool [B, T],
    ticks whose tokens are withheld; texts: of each its units, int64 [L]; times: the ticks between which each unit is
    said, float [L, 2], None where the corpus does not tell.

    heard: float32 [B, T, dim], audio tokens of the examples that are heard instead of seen, zeros of the others; None
    where all are seen.

    For the alignment of picture and sound the clips as they are: shown: as look, S ticks; shown_valid: bool [B, S];
    audio: float32 [B, S * 640].
    """

    look: Tensor
    valid: Tensor
    hidden: Tensor
    texts: list[Tensor]
    times: list[Tensor | None]
    shown: Tensor
    shown_valid: Tensor
    audio: Tensor
    margin: float = 0.0
    heard: Tensor | None = None

    def to(self, device: str) -> "VsrBatch":
        """Its arrays there; texts and times follow in the loss."""
        names = ("look", "valid", "hidden", "shown", "shown_valid", "audio")
        heard = None if self.heard is None else self.heard.to(device)
        return replace(self, heard=heard, **{name: getattr(self, name).to(device) for name in names})


class Batches:
    """Endless and reproducible from (seed, step), so that a resumed run draws what the unbroken one would have."""

    def __init__(
        self, utterances: Sequence[Utterance], speller: Speller, config: VsrDataConfig, seed: int, center: bool = True
    ) -> None:
        """center: does the vocal head take each clip's mean prompt out?"""
        self.center = center
        self.utterances = sorted(utterances, key=lambda u: (len(u), u.key))
        self.timed = [u for u in self.utterances if u.spoken.words]
        self.speller = speller
        self.classes = {unit: number for number, unit in enumerate(speller.units, 1)}
        self.config, self.seed = config, seed

    def batch(self, step: int) -> VsrBatch:
        rng = np.random.default_rng((self.seed, step))
        # short ones first: the share of the corpus grows to all of it
        share = min(1.0, 0.3 + 0.7 * step / max(1, self.config.curriculum_steps))
        count = max(min(self.config.clips, len(self.utterances)), int(share * len(self.utterances)))
        chosen = rng.choice(count, min(self.config.clips, count), replace=False)
        parts = [self._example(self.utterances[index], rng) for index in chosen]
        longest = max(len(part.valid) for part in parts)
        look = np.zeros((len(parts), longest, *parts[0].look.shape[1:]), parts[0].look.dtype)
        valid, hidden = np.zeros((len(parts), longest), bool), np.zeros((len(parts), longest), bool)
        spoken = [part.heard for part in parts if part.heard is not None]
        heard = np.zeros((len(parts), longest, spoken[0].shape[1]), np.float32) if spoken else None
        for row, part in enumerate(parts):
            own = part.look
            look[row, : len(own)], valid[row, : len(own)] = own, part.valid
            if heard is not None and part.heard is not None:
                heard[row, : len(own)] = part.heard
            for _ in range(self.config.time_masks):
                length = int(rng.integers(0, round(self.config.time_mask_s * TICK_RATE) + 1))
                start = int(rng.integers(0, max(1, len(own) - length)))
                hidden[row, start : start + length] = True
        spelled = [self.speller.spell(part.text) for part in parts]
        texts = [torch.tensor([self.classes[unit] for unit, _ in units], dtype=torch.int64) for units in spelled]
        times = [
            unit_times([word for _, word in units], part.spans) for units, part in zip(spelled, parts, strict=True)
        ]
        arrays = (torch.from_numpy(array) for array in (look, valid, hidden))
        plain = self._as_they_are([self.utterances[index] for index in chosen], rng)
        voices = None if heard is None else torch.from_numpy(heard)
        return VsrBatch(*arrays, texts, times, *plain, self.utterances[0].margin, voices)

    def _as_they_are(self, utterances: list[Utterance], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Looks, valid and audio of one length: the shortest of them."""
        length = min(len(utterance) for utterance in utterances)
        shown = np.stack([self._look(utterance, rng)[:length] for utterance in utterances])
        seen = np.stack([utterance.valid[:length] for utterance in utterances])
        audio = np.stack([utterance.audio[: length * TICK] for utterance in utterances]).astype(np.float32)
        return torch.from_numpy(shown), torch.from_numpy(seen), torch.from_numpy(audio)

    def _example(self, utterance: Utterance, rng: np.random.Generator) -> "_Example":
        hears = self.config.heard > 0 and rng.random() < self.config.heard
        look, valid, heard = self._look(utterance, rng), utterance.valid, utterance.heard
        words = utterance.spoken.words
        text = utterance.spoken.text
        if words and rng.random() < self.config.stitch:
            # a window of a long video begins and ends anywhere, mid-sentence too
            other = self.timed[rng.integers(len(self.timed))]
            after, seen = self._look(other, rng), other.valid
            shift = len(valid) / TICK_RATE
            words = (*words, *((word, a + shift, b + shift) for word, a, b in other.spoken.words))
            look, valid = np.concatenate([look, after]), np.concatenate([valid, seen])
            length = int(rng.integers(TICK_RATE, min(len(valid), round(self.config.longest_s * TICK_RATE)) + 1))
            start = int(rng.integers(0, len(valid) - length + 1))
            look, valid = look[start : start + length], valid[start : start + length]
            if heard is not None and other.heard is not None:
                heard = np.concatenate([heard, other.heard])[start : start + length]
            words = tuple(
                (word, a - start / TICK_RATE, b - start / TICK_RATE)
                for word, a, b in words
                if start <= (a + b) / 2 * TICK_RATE < start + length
            )
            text = " ".join(word for word, _, _ in words)
        speed = float(np.clip(np.exp(rng.normal(0, self.config.speed)), 0.8, 1.25))
        place = np.arange(0, len(valid) - 1e-6, speed)
        nearest = np.minimum(np.round(place).astype(int), len(valid) - 1)
        spans = [(a * TICK_RATE / speed, b * TICK_RATE / speed) for _, a, b in words]
        resampled = look[nearest] if utterance.crops else _resampled(look, place)
        if not hears or heard is None:
            return _Example(resampled, valid[nearest], text, spans)
        told = _resampled(heard.astype(np.float32), place)
        return _Example(resampled, np.ones(len(place), bool), text, spans, told)

    def _look(self, utterance: Utterance, rng: np.random.Generator) -> np.ndarray:
        """Crops where the visual encoder learns, else one of the views of the prompts."""
        if utterance.crops:
            return utterance.crops()
        views = utterance.prompts
        prompts = views[rng.integers(len(views))].astype(np.float32)
        return centred(prompts, utterance.valid) if self.center else prompts


@dataclass
class _Example:
    """look: as VsrBatch has it, [T, ...]; valid: bool [T]; spans: the ticks of each word of the text, or none; heard:
    [T, dim] where it is heard instead of seen."""

    look: np.ndarray
    valid: np.ndarray
    text: str
    spans: list[tuple[float, float]]
    heard: np.ndarray | None = None


def unit_times(words: Sequence[int | None], spans: Sequence[tuple[float, float]]) -> Tensor | None:
    """words: of each unit the number of its word, None between two. A unit's times are those of its word; between two
    words, from the start of the one to the end of the other. Float [L, 2]; None where the words have no times."""
    if len(spans) != max((word for word in words if word is not None), default=-1) + 1:
        return None
    found = []
    for k, word in enumerate(words):
        before, after = (words[k - 1], words[k + 1]) if word is None else (word, word)
        assert before is not None and after is not None  # a space stands between words
        found.append((spans[before][0], spans[after][1]))
    return torch.tensor(found, dtype=torch.float32).view(-1, 2)


def centred(prompts: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The clip's mean prompt taken out, as VocalHead.centered does it."""
    mean = prompts[valid].mean(0) if valid.any() else 0.0
    return (prompts - mean) * valid[:, None]


@torch.inference_mode()
def plain_tokens(head: VocalHead | ContextHead, utterance: Utterance) -> np.ndarray:
    """Vocal tokens float32 [T, dim] of the view that nothing was done to, as inference gives them. head: that of
    SyncLipMAE.vocal."""
    prompts = torch.from_numpy(utterance.prompts[0].astype(np.float32))[None]
    valid = torch.from_numpy(utterance.valid)[None]
    return normalise(head.along(head.centered(prompts, valid), valid))[0].numpy()


def _resampled(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    share = (place - low)[:, None].astype(np.float32)
    return values[low] * (1 - share) + values[high] * share
