"""What the lip reader learns from: stretches of utterances at other speeds, joined and cut, parts of them hidden."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synclip_core.models.synclipmae import VocalHead, normalise
from train.vsr.config import VsrDataConfig
from train.vsr.features import Utterance

FPS, SAMPLES = 25, 640


@dataclass
class VsrBatch:
    """prompts: float32 [B, T, width], each clip's mean taken out; valid: bool [B, T]; hidden: bool [B, T], ticks whose
    tokens are withheld; texts: of each its units, int64 [L]; times: the ticks between which each unit is said, float
    [L, 2], None where the corpus does not tell.

    For the alignment of picture and sound the clips as they are: shown: as prompts, [B, S, width]; shown_valid: bool
    [B, S]; audio: float32 [B, S * 640].
    """

    prompts: Tensor
    valid: Tensor
    hidden: Tensor
    texts: list[Tensor]
    times: list[Tensor | None]
    shown: Tensor
    shown_valid: Tensor
    audio: Tensor


class Batches:
    """Endless and reproducible from (seed, step), so that a resumed run draws what the unbroken one would have."""

    def __init__(self, utterances: Sequence[Utterance], units: Sequence[str], config: VsrDataConfig, seed: int) -> None:
        self.utterances = sorted(utterances, key=lambda u: (len(u), u.key))
        self.timed = [u for u in self.utterances if u.spoken.words]
        self.classes = {unit: number for number, unit in enumerate(units, 1)}
        self.config, self.seed = config, seed

    def batch(self, step: int) -> VsrBatch:
        rng = np.random.default_rng((self.seed, step))
        # short ones first: the share of the corpus grows to all of it
        share = min(1.0, 0.3 + 0.7 * step / max(1, self.config.curriculum_steps))
        count = max(min(self.config.clips, len(self.utterances)), int(share * len(self.utterances)))
        chosen = rng.choice(count, min(self.config.clips, count), replace=False)
        parts = [self._example(self.utterances[index], rng) for index in chosen]
        longest = max(len(part.valid) for part in parts)
        width = parts[0].prompts.shape[1]
        prompts = np.zeros((len(parts), longest, width), np.float32)
        valid, hidden = np.zeros((len(parts), longest), bool), np.zeros((len(parts), longest), bool)
        for row, part in enumerate(parts):
            own = part.prompts
            prompts[row, : len(own)], valid[row, : len(own)] = own, part.valid
            for _ in range(self.config.time_masks):
                length = int(rng.integers(0, round(self.config.time_mask_s * FPS) + 1))
                start = int(rng.integers(0, max(1, len(own) - length)))
                hidden[row, start : start + length] = True
        texts = [torch.tensor([self.classes[letter] for letter in part.text], dtype=torch.int64) for part in parts]
        times = [part.times() for part in parts]
        arrays = (torch.from_numpy(array) for array in (prompts, valid, hidden))
        return VsrBatch(*arrays, texts, times, *self._as_they_are([self.utterances[index] for index in chosen], rng))

    def _as_they_are(self, utterances: list[Utterance], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Prompts, valid and audio of one length: the shortest of them."""
        length = min(len(utterance) for utterance in utterances)
        shown = np.stack([self._view(utterance, rng)[:length] for utterance in utterances])
        seen = np.stack([utterance.valid[:length] for utterance in utterances])
        audio = np.stack([utterance.audio[: length * SAMPLES] for utterance in utterances]).astype(np.float32)
        return torch.from_numpy(shown), torch.from_numpy(seen), torch.from_numpy(audio)

    def _example(self, utterance: Utterance, rng: np.random.Generator) -> "_Example":
        prompts, valid = self._view(utterance, rng), utterance.valid
        words = utterance.spoken.words
        text = utterance.spoken.text
        if words and rng.random() < self.config.stitch:
            # a window of a long video begins and ends anywhere, mid-sentence too
            other = self.timed[rng.integers(len(self.timed))]
            after, seen = self._view(other, rng), other.valid
            shift = len(valid) / FPS
            words = (*words, *((word, a + shift, b + shift) for word, a, b in other.spoken.words))
            prompts, valid = np.concatenate([prompts, after]), np.concatenate([valid, seen])
            length = int(rng.integers(FPS, min(len(valid), round(self.config.longest_s * FPS)) + 1))
            start = int(rng.integers(0, len(valid) - length + 1))
            prompts, valid = prompts[start : start + length], valid[start : start + length]
            words = tuple(
                (word, a - start / FPS, b - start / FPS)
                for word, a, b in words
                if start <= (a + b) / 2 * FPS < start + length
            )
            text = " ".join(word for word, _, _ in words)
        speed = float(np.clip(np.exp(rng.normal(0, self.config.speed)), 0.8, 1.25))
        place = np.arange(0, len(valid) - 1e-6, speed)
        nearest = np.minimum(np.round(place).astype(int), len(valid) - 1)
        spans = [(a * FPS / speed, b * FPS / speed) for _, a, b in words]
        return _Example(_resampled(prompts, place), valid[nearest], text, spans)

    def _view(self, utterance: Utterance, rng: np.random.Generator) -> np.ndarray:
        views = utterance.prompts
        return centred(views[rng.integers(len(views))].astype(np.float32), utterance.valid)


@dataclass
class _Example:
    """prompts: float32 [T, width]; valid: bool [T]; spans: the ticks of each word of the text, or none."""

    prompts: np.ndarray
    valid: np.ndarray
    text: str
    spans: list[tuple[float, float]]

    def times(self) -> Tensor | None:
        """Of each unit: those of its word; of a space from the word before to the word after."""
        words = self.text.split()
        if len(words) != len(self.spans):
            return None
        found: list[tuple[float, float]] = []
        for number, (word, span) in enumerate(zip(words, self.spans, strict=True)):
            if number:
                found.append((self.spans[number - 1][0], span[1]))
            found += [span] * len(word)
        return torch.tensor(found, dtype=torch.float32).view(-1, 2)


def centred(prompts: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The clip's mean prompt taken out, as VocalHead.centered does it."""
    mean = prompts[valid].mean(0) if valid.any() else 0.0
    return (prompts - mean) * valid[:, None]


@torch.inference_mode()
def plain_tokens(head: VocalHead, utterance: Utterance) -> np.ndarray:
    """Vocal tokens float32 [T, dim] of the view that nothing was done to, as inference gives them."""
    prompts = centred(utterance.prompts[0].astype(np.float32), utterance.valid)
    return normalise(head(torch.from_numpy(prompts)[None]))[0].numpy()


def _resampled(values: np.ndarray, place: np.ndarray) -> np.ndarray:
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    share = (place - low)[:, None].astype(np.float32)
    return values[low] * (1 - share) + values[high] * share
