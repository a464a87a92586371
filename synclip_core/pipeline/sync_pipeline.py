"""The main job as one object: a file in, tokens or a verdict out. The CLI, the nodes and train/evaluate all call it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..attributes.head import AttributeHead
from ..attributes.head_file import load_head, require_match
from ..attributes.report import AttributeReport, classify_streams
from ..checkpoint import Checkpoint, load_checkpoint
from ..device import usable
from ..errors import SyncLipError
from ..faces.selection import Choice, face_index, parse_choice
from ..faces.track_output import TrackOptions
from ..media.info import probe
from ..models.synclipmae import SyncLipMAE
from ..models.visual_encoder import PROMPTS, VOCAL
from ..reading.beam import SearchOptions
from ..reading.read import read_lips
from ..reading.reader_file import Reader
from ..reading.transcript import Transcript
from ..sync.along.tolerance import EBU, Tolerance
from ..sync.along.voice import TrackChoice
from ..sync.found import Found
from ..sync.report import ScoreReport
from ..sync.speakers import FaceScore, face_score
from ..tokens.streams import TokenStreams
from .choosing import choose_face, choose_sound
from .hearing import Ear
from .judging import Judge
from .seeing import Eye
from .words import Progress, Sound, Watch


class SyncPipeline:
    """model: checkpoint path, a loaded Checkpoint, or None for the bundled one. face: see faces.selection.parse_choice.
    missing: hold | interpolate | skip | error. max_lag: range of the curve that is shown, in frames at 25 fps; lags of
    up to 5 s are searched whatever it is, and up to max_lag where that is more. tolerance: what counts as in sync.
    audio_track: which sound of a file is judged, see sync.along.voice. context: tokens of the
    temporal branch, which judge best; False: the paper's tokens of single frames. Checkpoints without that branch have
    one kind of tokens."""

    def __init__(
        self,
        model: str | Path | Checkpoint | None = None,
        device: str = "cpu",
        face: Choice = "auto",
        missing: str = "hold",
        max_lag: int = 15,
        context: bool = True,
        tolerance: Tolerance = EBU,
        audio_track: TrackChoice = None,
    ) -> None:
        loaded = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        self.checkpoint = loaded
        self.device = usable(device)
        self.model: SyncLipMAE = loaded.model.to(self.device)
        self.face = parse_choice(face) if isinstance(face, str) else face
        self.max_lag = max_lag
        self.context = context
        self.tolerance, self.audio_track = tolerance, audio_track
        self.thresholds, self.evidence = loaded.thresholds, loaded.evidence
        self.options = TrackOptions(crop_size=self.model.config.visual.crop_size, missing=missing)
        everywhere = self.face == "speaker" or isinstance(self.face, tuple)  # whoever is meant may be small
        self._eye = Eye(self.model, self.device, self.options, context, everywhere)
        self._ear = Ear(self.model, self.device, context, audio_track)
        self._judge = Judge(self._eye, self.thresholds, self.evidence, tolerance, max_lag)

    # ---- the main job -------------------------------------------------------------------------------------------

    def score(self, path: str | Path, progress: Progress | None = None, audio: str | Path | None = None) -> ScoreReport:
        """Verdict, lag and timeline of a file. audio: another file whose sound is judged instead of its own, from the
        first frame on. Raises SyncLipError when it cannot be read or there is no sound."""
        judge = self._judge
        found, number, (tokens, speech) = self._seen_and_heard(path, progress, [VOCAL], audio=audio)
        track, chosen = choose_face(found, self.face, tokens, speech, judge)
        vocal = judge.vocal_of(found, track, chosen, tokens.shape[1])
        timeline = judge.timeline(tokens, vocal, track >= 0, speech, found.look_of(track))
        result = judge.measure(tokens, vocal, track >= 0, speech, timeline)
        report = ScoreReport.from_timeline(str(path), result, timeline, len(found.prompts))
        report.audio_track, report.audio = number, None if audio is None else str(audio)
        report.tracks = judge.every_face(found, chosen, timeline, tokens, speech)
        if not (track >= 0).any():
            report.words = "no face found: cannot tell"
        if isinstance(self.face, tuple) and found.prompts and not chosen:
            report.words = f"no face at {self.face[0]:g},{self.face[1]:g}: cannot tell"
        return report

    def speakers(self, path: str | Path, progress: Progress | None = None) -> list[FaceScore]:
        """Every face of a file against its voice, the likeliest speaker first; empty where no face was found."""
        found, _, (audio, speech) = self._seen_and_heard(path, progress, [VOCAL])
        summaries, scores = found.summaries, []
        for summary in summaries:
            result = self._judge.judge_track(found, summary.track_id, audio, speech)
            picture, index = found.pictures[summary.track_id], face_index(summary, summaries)
            timeline = self._judge.track_timeline(found, summary.track_id, audio, speech)
            scores.append(face_score(summary, index, found.reduction, picture, result, timeline))
        return sorted(scores, key=lambda face: (face.nats, face.result.margin), reverse=True)

    def tokens(
        self, path: str | Path, progress: Progress | None = None, *, sound: bool = True, watch: Watch | None = None
    ) -> TokenStreams:
        """Token streams of a file, decoded once and streamed. progress(done, total) counts ticks.

        sound=False: of the picture alone, so that a file without sound will do; `audio` is zeros and `speech` False.
        watch(chunk) sees every chunk of every face, in the order of tracking.
        """
        if sound or self.face == "speaker":  # the speaker is told by the voice
            found, _, (audio, speech) = self._seen_and_heard(path, progress, PROMPTS, watch)
        else:
            found = self._eye.see(path, PROMPTS, progress, watch)
            audio, speech = np.zeros((found.ticks, self.model.config.dim), np.float32), np.zeros(found.ticks, bool)
        track, chosen = choose_face(found, self.face, audio, speech, self._judge)
        prompts, vocal, identity, ambient = self._assemble(found, track, chosen)
        return TokenStreams(
            audio=audio,
            vocal=vocal,
            identity=identity,
            ambient=ambient,
            valid=track >= 0,
            speech=speech,
            prompts=prompts,
            track=track,
            duration_s=found.ticks / 25,
            faces=len(found.prompts),
            profile=self.model.config.profile,
            warnings=found.warnings,
            look=found.look_of(track),
        )

    def transcribe(
        self,
        path: str | Path,
        reader: Reader,
        progress: Progress | None = None,
        options: SearchOptions | None = None,
    ) -> Transcript:
        """What is said in a file, read from the lips alone. Raises SyncLipError when it cannot be read."""
        reader.check(self.checkpoint.sha256)
        streams = self.tokens(path, progress, sound=False)

        def read(done: int, total: int) -> None:  # the long part is behind: stay at its end, so that it may cancel
            if progress is not None:
                progress(total, total)

        return read_lips(reader, streams.vocal, streams.valid, str(path), read, options)

    def classify(
        self,
        path: str | Path,
        head: AttributeHead | str | Path | None = None,
        progress: Progress | None = None,
        *,
        frames: int = 0,
        threshold: float | None = None,
    ) -> AttributeReport:
        """What the face of a file does; sound is not needed. head: an attribute head or its file, None for the bundled
        one; frames, threshold: see attributes.classify. Raises SyncLipError as it does, before the video is read where
        the head is of another checkpoint."""
        head = head if isinstance(head, AttributeHead) else load_head(head)
        require_match(head, self.checkpoint.sha256, self.model.config.dim)
        streams = self.tokens(path, progress, sound=False)
        report = classify_streams(streams, head, self.checkpoint.sha256, frames=frames, threshold=threshold)
        report.file = str(path)
        return report

    # ---- tokens from parts, for whoever has them already --------------------------------------------------------

    def audio_tokens(self, waveform: np.ndarray) -> np.ndarray:
        """waveform: float32 [T * 640], 16 kHz mono. Returns float32 [T, dim], L2-normalised, as `tokens` does."""
        return self.hear(waveform, [self.context])[0]

    def hear(self, waveform: np.ndarray, kinds: Sequence[bool] = (False, True)) -> list[np.ndarray]:
        """`audio_tokens` of several kinds, for each of which `context` is given, of a sound that is heard once."""
        return self._ear.hear(waveform, kinds)

    def layer_tokens(self, layers: Sequence[torch.Tensor]) -> np.ndarray:
        """layers: hidden states [1, N, width] of a speech encoder run elsewhere, 50 rows a second, the input of its
        first block first. Returns float32 [(N + 1) // 2, dim], L2-normalised. Raises SyncLipError where this model
        listens to something else."""
        return self._ear.layer_tokens(layers)

    def vocal_tokens(self, prompts: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """prompts: float32 [T, width] of one face; valid: bool [T]. Returns float32 [T, dim], L2-normalised."""
        return self._eye.vocal_tokens(prompts, valid)

    def face_tokens(self, prompts: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """prompts: float32 [n, 3, width] of one face; valid: bool [n]. Vocal, identity and ambient tokens [n, dim]."""
        return self._eye.face_tokens(prompts, valid)

    def encode_crops(self, crops: np.ndarray, regions: np.ndarray | None = None, identity: bool = True) -> np.ndarray:
        """Prompts float32 [n, 3, width] of face squares uint8 [n, S, S, 3], see `seeing.Eye.encode_crops`."""
        return self._eye.encode_crops(crops, regions, identity)

    # ---- steps --------------------------------------------------------------------------------------------------

    def _seen_and_heard(
        self,
        path: str | Path,
        progress: Progress | None,
        keep: Sequence[int],
        watch: Watch | None = None,
        audio: str | Path | None = None,
    ) -> tuple[Found, int, Sound]:
        """Prompts of every face, the number of the sound track that is judged, its tokens and speech. audio: of another
        file. Raises SyncLipError where there is no sound, before the video is read."""
        info = None
        if audio is None:
            info = probe(path)
            if info.has_video and not info.has_audio:
                raise SyncLipError(f"{path}: no audio track; there is nothing to compare the mouth with")
        found = self._eye.see(path, keep, progress, watch, info)
        sounds = self._ear.sounds(path if audio is None else audio, found.ticks, progress)
        return found, *choose_sound(found, sounds, self.audio_track, self._judge)

    def _assemble(self, found: Found, track: np.ndarray, chosen: list[int]) -> tuple[np.ndarray, ...]:
        """prompts [T, width], vocal, identity, ambient [T, dim]; zeros where no face was chosen."""
        config, length = self.model.config, len(track)
        prompts = np.zeros((length, config.visual.width), np.float32)
        vocal, identity, ambient = (np.zeros((length, config.dim), np.float32) for _ in range(3))
        for track_id in chosen:
            ticks, valid, own = found.track(track_id)
            prompts[ticks] = own[:, VOCAL]
            vocal[ticks], identity[ticks], ambient[ticks] = self.face_tokens(own, valid)
        return prompts, vocal, identity, ambient
