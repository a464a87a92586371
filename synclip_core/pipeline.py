"""The main job as one object: a file in, tokens or a verdict out. The CLI, the nodes and train/evaluate all call it."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .attributes.head import AttributeHead
from .attributes.head_file import load_head, require_match
from .attributes.report import AttributeReport, classify_streams
from .checkpoint import Checkpoint, load_checkpoint
from .device import usable
from .errors import SyncLipError
from .faces.crop import decode_side, model_frames
from .faces.detect.blazeface import BlazeFaceDetector
from .faces.geometry import frame_regions
from .faces.selection import Choice, face_index, parse_choice, select_tracks
from .faces.track_output import TrackChunk
from .faces.tracking import FaceTracker, TrackOptions
from .media.audio import iter_audio
from .media.info import MediaInfo, probe
from .media.speech import HOPS, RATE, band_level, speech_by_level
from .media.video import SourceFrame, iter_ticks
from .models.audio.speech import SpeechEncoder, rows_of_frames
from .models.synclipmae import SyncLipMAE, held, normalise
from .models.visual_encoder import IDENTITY, PROMPTS, VOCAL
from .reading.beam import SearchOptions
from .reading.read import read_lips
from .reading.reader_file import Reader
from .reading.transcript import Transcript
from .sync.along.evidence import REACH
from .sync.along.judge import Timeline, judge
from .sync.along.look import lay
from .sync.along.tolerance import EBU, Tolerance
from .sync.along.turns import follow_speaker
from .sync.along.voice import TrackChoice, played_first
from .sync.found import Found
from .sync.measure import SyncResult, measure_sync
from .sync.report import ScoreReport
from .sync.speakers import FaceScore, face_row, face_score
from .tokens.audio_stream import CONTEXT, TICK, AudioTokenStream, AudioTokenStreams, adapted, in_spans, with_context
from .tokens.streams import TokenStreams

Progress = Callable[[int, int], None]
Watch = Callable[[TrackChunk], None]
BLOCK_PIXELS = 64 * 224 * 224  # of frames that are encoded together: 64 of base, 4 of paper
MIN_TRACK = 8  # ticks; a shorter appearance has no mean of its own to take off
LEAST_JUDGED = 25  # ticks; a face that is seen for less is named, not judged


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
        self._tracker: FaceTracker | None = None

    # ---- the main job -------------------------------------------------------------------------------------------

    def score(self, path: str | Path, progress: Progress | None = None, audio: str | Path | None = None) -> ScoreReport:
        """Verdict, lag and timeline of a file. audio: another file whose sound is judged instead of its own, from the
        first frame on. Raises SyncLipError when it cannot be read or there is no sound."""
        found = self._seen(path, progress, [VOCAL]) if audio is not None else self._seen_with_sound(path, progress)
        sounds = self._sounds(audio if audio is not None else path, found.ticks, progress)
        number, (tokens, speech) = self._pick(found, sounds)
        track, chosen = self._choose(found, tokens, speech)
        vocal = self._vocal_of(found, track, chosen, tokens.shape[1])
        look = found.look_of(track)
        timeline = self._timeline(tokens, vocal, track >= 0, speech, look)
        result = self._measure(tokens, vocal, track >= 0, speech, timeline)
        report = ScoreReport.from_timeline(str(path), result, timeline, len(found.prompts))
        report.audio_track = number
        report.tracks = self._every_face(found, chosen, timeline, tokens, speech)
        if not (track >= 0).any():
            report.words = "no face found: cannot tell"
        if isinstance(self.face, tuple) and found.prompts and not chosen:
            report.words = f"no face at {self.face[0]:g},{self.face[1]:g}: cannot tell"
        return report

    def speakers(self, path: str | Path, progress: Progress | None = None) -> list[FaceScore]:
        """Every face of a file against its voice, the likeliest speaker first; empty where no face was found."""
        found, audio, speech = self._seen_and_heard(path, progress, [VOCAL])
        summaries, scores = found.collector.summaries(), []
        for summary in summaries:
            result = self._judge_track(found, summary.track_id, audio, speech)
            picture, index = found.pictures[summary.track_id][1], face_index(summary, summaries)
            timeline = self._track_timeline(found, summary.track_id, audio, speech)
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
            found, audio, speech = self._seen_and_heard(path, progress, PROMPTS, watch)
        else:
            found = self._seen(path, progress, PROMPTS, watch)
            audio, speech = np.zeros((found.ticks, self.model.config.dim), np.float32), np.zeros(found.ticks, bool)
        track, chosen = self._choose(found, audio, speech)
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
        streams = AudioTokenStreams(self.model, kinds)
        blocks = (waveform[i : i + 10 * RATE] for i in range(0, len(waveform), 10 * RATE))
        for piece in with_context(blocks):
            streams.push(piece)
        return [normalise(tokens).cpu().numpy() for tokens in streams.finish()]

    @torch.inference_mode()
    def layer_tokens(self, layers: Sequence[torch.Tensor]) -> np.ndarray:
        """layers: hidden states [1, N, width] of a speech encoder run elsewhere, 50 rows a second, the input of its
        first block first. Returns float32 [(N + 1) // 2, dim], L2-normalised. Raises SyncLipError where this model
        listens to something else."""
        audio = self.model.config.audio
        if not isinstance(self.model.front_end, SpeechEncoder):
            raise SyncLipError(
                f"this checkpoint listens with {audio.front_end}, not with a speech encoder; give it the sound itself"
            )
        shapes = {tuple(layer.shape[::2]) for layer in layers}
        if len(layers) != audio.depth or shapes != {(1, audio.width)}:
            raise SyncLipError(
                f"the speech encoder gave {len(layers)} layers of {sorted(shapes)} (batch, width); this checkpoint "
                f"was trained on {audio.depth} layers of width {audio.width} ({audio.front_end}), one clip at a time"
            )
        if audio.align != "features":
            raise SyncLipError(
                f"this checkpoint was trained with audio.align {audio.align}, and these layers have 50 rows a second, "
                "of which two are averaged; give it the sound itself"
            )
        rows = rows_of_frames([layer.to(self.device) for layer in layers])
        return normalise(adapted(self.model, torch.cat(rows, -1), self.context))[0].cpu().numpy()

    @torch.inference_mode()
    def vocal_tokens(self, prompts: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """prompts: float32 [T, width] of one face; valid: bool [T]. Returns float32 [T, dim], L2-normalised."""
        model = self.model
        x = torch.from_numpy(np.ascontiguousarray(prompts, np.float32))[None].to(self.device)
        mask = torch.from_numpy(np.ascontiguousarray(valid))[None].to(self.device)
        reach = model.config.reach(self.context)[0]
        if self.context and model.has_context:
            both = torch.cat([x, mask[..., None].to(x)], -1)  # cut at the same place
            tokens = in_spans(lambda y: model.vocal_context(y[..., :-1], y[..., -1] > 0), both, reach)
        else:
            padded = held(model.vocal_head.centered(x, mask), reach)
            tokens = in_spans(model.vocal_head, padded, reach)[:, reach : reach + len(prompts)]
        return normalise(tokens[0]).cpu().numpy()

    @torch.inference_mode()
    def face_tokens(self, prompts: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """prompts: float32 [n, 3, width] of one face; valid: bool [n]. Vocal, identity and ambient tokens [n, dim]."""
        whole = torch.from_numpy(prompts)[None].to(self.device)
        identity, ambient = self.model.identity_tokens(whole)[0], self.model.ambient_tokens(whole)[0]
        return self.vocal_tokens(prompts[:, VOCAL], valid), identity.cpu().numpy(), ambient.cpu().numpy()

    @torch.inference_mode()
    def encode_crops(self, crops: np.ndarray, regions: np.ndarray | None = None, identity: bool = True) -> np.ndarray:
        """crops: uint8 [n, S, S, 3], face squares of the model's crop size; regions: float32 [n, 5, 4], where the parts
        of these faces are (faces.geometry.frame_regions), None: where they usually are; identity: False where the
        identity prompt is not needed, which saves its pass over all patches. Returns prompts float32 [n, 3, width].

        The model sees them as in training: a model whose image_size is not square, such as `paper` with 1024 x 768,
        sees the whole square stretched to it (faces.crop.model_frames).
        """
        size = self.model.config.visual.image_size
        block = max(1, BLOCK_PIXELS // math.prod(size))
        prompts = []
        for start in range(0, len(crops), block):
            part = slice(start, start + block)
            frames = model_frames(torch.from_numpy(crops[part]).to(self.device), size)
            where = None if regions is None else torch.from_numpy(regions[part]).to(self.device)
            # a copy: the three prompts are a view of all tokens, which would stay in memory with them
            prompts.append(self.model.prompts(frames, where, identity).cpu().numpy().copy())
        return np.concatenate(prompts)

    # ---- steps --------------------------------------------------------------------------------------------------

    def _seen_and_heard(
        self, path: str | Path, progress: Progress | None, keep: Sequence[int], watch: Watch | None = None
    ) -> tuple[Found, np.ndarray, np.ndarray]:
        """Prompts of every face, audio tokens [T, dim], speech mask [T]. Raises SyncLipError where there is no
        sound."""
        found = self._seen_with_sound(path, progress, keep, watch)
        _, (audio, speech) = self._pick(found, self._sounds(path, found.ticks, progress))
        return found, audio, speech

    def _seen_with_sound(
        self,
        path: str | Path,
        progress: Progress | None,
        keep: Sequence[int] = (VOCAL,),
        watch: Watch | None = None,
    ) -> Found:
        """Prompts of every face of a file that has sound, before it is read where it has none."""
        info = probe(path)
        if info.has_video and not info.has_audio:
            raise SyncLipError(f"{path}: no audio track; there is nothing to compare the mouth with")
        return self._seen(path, progress, keep, watch, info)

    def _seen(
        self,
        path: str | Path,
        progress: Progress | None,
        keep: Sequence[int],
        watch: Watch | None = None,
        info: MediaInfo | None = None,
    ) -> Found:
        """Prompts of every face (keep: which of the three, a long clip is large)."""
        info = info or probe(path)
        if not info.has_video:
            raise SyncLipError(f"{path}: no video track; expected a video with a face and a voice")
        return self._faces(path, round(info.duration_s * 25), progress, keep, watch, max(info.width, info.height, 1))

    def _faces(
        self,
        path: str | Path,
        expected: int,
        progress: Progress | None,
        keep: Sequence[int],
        watch: Watch | None = None,
        side: int = 1,
    ) -> Found:
        """Decode, track, crop, encode: one pass, a bounded number of frames in memory."""
        if self._tracker is None:
            everywhere = self.face == "speaker" or isinstance(self.face, tuple)  # whoever is meant may be small
            detector = BlazeFaceDetector(device=self.device, everywhere=everywhere)
            self._tracker = FaceTracker(self.options, detector, device=self.device)
        reader = iter_ticks(path, max_side=decode_side(self.options.crop_size))
        found = Found(keep)

        def counted() -> Iterator[tuple[int, SourceFrame]]:
            for tick, frame in reader:
                found.ticks = tick + 1
                found.shape = frame.image.shape[:2]
                found.reduction = max(found.shape) / side
                if progress is not None:
                    progress(found.ticks, max(expected, found.ticks))
                yield tick, frame

        try:
            for chunk in self._tracker.run(counted()):
                found.collector.add(chunk)
                regions = frame_regions(chunk.landmarks, chunk.transforms)
                found.add(chunk, self.encode_crops(chunk.crops, regions, IDENTITY in keep))
                if watch is not None:
                    watch(chunk)
        finally:
            reader.close()
        found.warnings = list(reader.warnings)
        return found

    def _sounds(
        self, path: str | Path, ticks: int, progress: Progress | None
    ) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        """(number, (tokens, speech)) of the tracks that may be judged, that first which players play."""
        order = played_first(path) or [0]
        if isinstance(self.audio_track, int):
            order = [self.audio_track]
        for number in order:
            yield number, self._sound(path, ticks, progress, number)

    def _pick(
        self, found: Found, sounds: Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]
    ) -> tuple[int, tuple[np.ndarray, np.ndarray]]:
        """The track that players play, or the next one where that has no speech; "best": that which fits a face
        best."""
        if self.audio_track != "best":
            first = None
            for number, sound in sounds:
                first = first or (number, sound)
                if sound[1].sum() >= 10:
                    return number, sound
            assert first is not None
            return first
        heard = list(sounds)

        def fit(sound: tuple[np.ndarray, np.ndarray]) -> float:
            faces = [self._track_timeline(found, track_id, *sound) for track_id in found.prompts]
            return max((sum(s.nats for s in face.stretches) for face in faces), default=0.0)

        return max(heard, key=lambda item: fit(item[1]))

    def _sound(
        self, path: str | Path, ticks: int, progress: Progress | None, number: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Audio tokens [T, dim] and speech mask [T]. progress is called where it stands, so that it may cancel."""
        stream, levels, edge = AudioTokenStream(self.model, self.context), [], CONTEXT * HOPS
        for piece in with_context(iter_audio(path, track=number, duration_s=ticks / 25)):
            if progress is not None:
                progress(ticks, ticks)
            stream.push(piece)
            levels.append(band_level(piece)[edge:-edge])
        return normalise(stream.finish()).cpu().numpy(), speech_by_level(np.concatenate(levels))

    def _timeline(
        self, audio: np.ndarray, vocal: np.ndarray, valid: np.ndarray, speech: np.ndarray, look: np.ndarray
    ) -> Timeline:
        reach = max(self.max_lag, REACH)
        return judge(audio, vocal, valid, speech, look, evidence=self.evidence, tolerance=self.tolerance, reach=reach)

    def _track_timeline(
        self, found: Found, track_id: int, audio: np.ndarray, speech: np.ndarray, near: slice = slice(None)
    ) -> Timeline:
        """One face track on the clip's clock; near: judged on these ticks alone, on theirs."""
        track = np.full(found.ticks, -1, np.int64)
        ticks, valid, _ = found.vocal(track_id)
        track[ticks[valid]] = track_id
        vocal = self._vocal_of(found, track, [track_id], audio.shape[1])
        look = lay(found.ticks, found.looks[track_id])
        return self._timeline(audio[near], vocal[near], (track >= 0)[near], speech[near], look[near])

    def _every_face(
        self, found: Found, chosen: Sequence[int], timeline: Timeline, audio: np.ndarray, speech: np.ndarray
    ) -> list[dict[str, Any]]:
        """Each face track of a file, in order of time, as `sync.speakers.face_row` gives it; what is seen for less than
        a second is not judged. timeline: of the chosen ones."""
        rows = []
        for summary in sorted(found.collector.summaries(), key=lambda s: (s.first, float(s.centre[0]))):
            own = None
            if [summary.track_id] == list(chosen):
                own = timeline
            elif summary.seen >= LEAST_JUDGED:  # on its own ticks and the sound around: a file may have hundreds
                near = slice(max(summary.first - REACH, 0), summary.last + 1 + REACH)
                own = self._track_timeline(found, summary.track_id, audio, speech, near)
            rows.append(face_row(summary, found.reduction, own, summary.track_id in chosen))
        return rows

    def _vocal_of(self, found: Found, track: np.ndarray, chosen: Sequence[int], width: int) -> np.ndarray:
        """Vocal tokens [T, dim] of the chosen faces, each on the ticks of `track` that are its own and where no other
        is."""
        vocal = np.zeros((len(track), width), np.float32)
        for track_id in chosen:
            ticks, valid, prompts = found.vocal(track_id)
            own = (track[ticks] == track_id) | (track[ticks] < 0)
            vocal[ticks[own]] = self.vocal_tokens(prompts, valid)[own]
        return vocal

    def _measure(
        self,
        audio: np.ndarray,
        vocal: np.ndarray,
        valid: np.ndarray,
        speech: np.ndarray,
        timeline: Timeline | None = None,
    ) -> SyncResult:
        """Curve and windows, over as many lags as the timeline found."""
        worst = None if timeline is None else timeline.worst_frames
        reach = self.max_lag if worst is None else max(self.max_lag, min(math.ceil(abs(worst)) + 5, len(audio)))
        return measure_sync(audio, vocal, valid, speech, max_lag=reach, thresholds=self.thresholds)

    def _judge_track(self, found: Found, track_id: int, audio: np.ndarray, speech: np.ndarray) -> SyncResult:
        """One face track against the voice of its ticks."""
        ticks, valid, prompts = found.vocal(track_id)
        return self._measure(audio[ticks], self.vocal_tokens(prompts, valid), valid, speech[ticks])

    def _choose(self, found: Found, audio: np.ndarray, speech: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """The face track of each tick (-1: none) and the chosen tracks."""
        summaries = found.collector.summaries()
        choice = self.face
        if isinstance(choice, tuple):  # given in pixels of the file, tracked in reduced ones
            choice = (choice[0] * found.reduction, choice[1] * found.reduction)
        scores = None
        if choice == "speaker":
            ids = [summary.track_id for summary in summaries]
            turns = follow_speaker({k: self._track_timeline(found, k, audio, speech) for k in ids}, found.ticks)
            if turns is not None:
                return self._only_seen(found, turns), sorted(set(turns[turns >= 0].tolist()))
            scores = {track_id: self._judge_track(found, track_id, audio, speech).margin for track_id in ids}
        chosen = select_tracks(summaries, choice, scores)
        track = np.full(found.ticks, -1, np.int64)
        for track_id in chosen:
            ticks, valid, _ = found.track(track_id)
            if valid.sum() >= min(MIN_TRACK, found.ticks):
                track[ticks[valid]] = track_id
        return track, chosen

    @staticmethod
    def _only_seen(found: Found, track: np.ndarray) -> np.ndarray:
        """The same with -1 where the face of a tick is not seen."""
        seen = np.full(len(track), -1, np.int64)
        for track_id in np.unique(track[track >= 0]).tolist():
            ticks, valid, _ = found.track(track_id)
            own = ticks[valid & (track[ticks] == track_id)]
            seen[own] = track_id
        return seen

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


__all__ = ["CONTEXT", "TICK", "SyncPipeline", "TokenStreams"]
