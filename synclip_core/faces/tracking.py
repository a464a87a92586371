"""Faces followed through a video, in a stream: detection now and then, the mesh in between.

The mesh needs to know where to look; a region found on one frame serves the next frames as long as the face stays in
it, so several frames and faces go through the network as one batch and only frames where the head moved far are redone.
Full detection runs at the start, after a cut, when a face got lost, and every `detect_every` ticks for newcomers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..clock import FPS
from ..errors import SyncLipError
from .cuts import CutDetector
from .detect.blazeface import BlazeFaceDetector
from .detect.detector import Detection, FaceDetector, overlap
from .detect.face_mesh import FaceMesh, landmark_box, roi_from_detection, roi_from_landmarks
from .track_output import Observation, TrackChunk, TrackOptions, TrackWriter

BLOCK = 8  # ticks that go through the mesh together
BLOCK_BYTES = 192 << 20  # fewer of them when the frames are huge
# a region still serves while the face's own region lies within these of it
MAX_SHIFT, MAX_SCALE, MAX_TURN = 0.12, 0.2, 0.25  # of its side; log ratio; radians
SAME_FACE = 0.3  # overlap of boxes


class Frame(Protocol):
    """What the tracker needs of media.video.SourceFrame."""

    @property
    def index(self) -> int: ...
    @property
    def image(self) -> np.ndarray: ...


@dataclass
class _Track:
    id: int
    landmarks: np.ndarray  # where it was seen last
    seen: int  # tick
    active: bool = True
    reach: int = BLOCK  # frames to look ahead with one region: shrinks while the head moves fast
    observed: dict[int, Observation] = field(default_factory=dict)  # by position in the current segment


class FaceTracker:
    """Finds and follows faces. One object, one video at a time."""

    def __init__(
        self,
        options: TrackOptions | None = None,
        detector: FaceDetector | None = None,
        mesh: FaceMesh | None = None,
        device: str = "cpu",
    ) -> None:
        self.options = options or TrackOptions()
        self.detector = detector or BlazeFaceDetector(device=device)
        self.mesh = mesh or FaceMesh(device)

    def run(self, ticks: Iterable[tuple[int, Frame]]) -> Iterator[TrackChunk]:
        """ticks: (tick, frame) in order, without gaps. Yields chunks as they are ready, tracks interleaved.

        Raises SyncLipError under the policy "error" when a tick shows no face.
        """
        self._tracks: list[_Track] = []
        self._next_id = 0
        self._detected_at = -(10**9)
        self._writers: dict[int, TrackWriter] = {}
        for block in self._blocks(ticks):
            yield from self._process(block)
            block.clear()  # the frames go before the next ones come
        for writer in self._writers.values():
            yield from writer.finish()

    def _process(self, block: list[tuple[int, Frame, bool]]) -> Iterator[TrackChunk]:
        for cut, segment in _segments(block):
            if cut:
                self._tracks.clear()
                yield from self._finish_ended()
            self._follow(segment)
            self._require_faces(segment)
            for track in self._tracks:
                writer = self._writers.setdefault(track.id, TrackWriter(track.id, self.options))
                for i, (tick, frame) in enumerate(segment):
                    writer.push(tick, frame.image, track.observed.get(i))
                yield from writer.ready()
            yield from self._finish_ended()

    def _finish_ended(self) -> Iterator[TrackChunk]:
        """The last chunks of tracks that are no more."""
        for track_id in sorted(set(self._writers) - {track.id for track in self._tracks}):
            yield from self._writers.pop(track_id).finish()

    def _blocks(self, ticks: Iterable[tuple[int, Frame]]) -> Iterator[list[tuple[int, Frame, bool]]]:
        """Blocks of (tick, frame, a cut lies before it); their borders depend on the ticks alone."""
        cuts = CutDetector()
        block: list[tuple[int, Frame, bool]] = []
        last = None
        for tick, frame in ticks:
            cut = frame.index != last and cuts(frame.image)
            last = frame.index
            block.append((tick, frame, cut))
            if len(block) >= min(BLOCK, max(2, BLOCK_BYTES // frame.image.nbytes)):
                yield block
                block = []
        if block:
            yield block

    def _require_faces(self, segment: list[tuple[int, Frame]]) -> None:
        if self.options.missing != "error":
            return
        for i, (tick, _) in enumerate(segment):
            if not any(i in track.observed for track in self._tracks):
                raise SyncLipError(
                    f"no face at {tick / FPS:.2f} s (tick {tick}): missing='error' asks for a face in every frame; "
                    "choose missing='hold', 'interpolate' or 'skip', or trim the video"
                )

    def _follow(self, segment: list[tuple[int, Frame]]) -> None:
        """Fills `observed` of every track for one segment of frames without a cut."""
        first, last = segment[0][0], segment[-1][0]
        for track in self._tracks:
            track.observed = {}
        active = [t for t in self._tracks if t.active]
        forward = list(range(len(segment)))
        self._walk([(t, roi_from_landmarks(t.landmarks), forward) for t in active], segment)
        for track in active:
            track.active = len(segment) - 1 in track.observed
        self._drop_doubles()
        healthy = sum(t.active for t in self._tracks)
        lost = healthy < len(active)
        due = last - self._detected_at >= self.options.detect_every and healthy < self.options.max_faces
        if lost or due or healthy == 0:
            self._detect(segment, len(segment) // 2 if healthy == 0 and not lost else len(segment) - 1)
            self._detected_at = last
        for track in self._tracks:
            if track.observed:
                newest = max(track.observed)
                track.landmarks, track.seen = track.observed[newest].landmarks, segment[newest][0]
        limit = self.options.max_gap
        self._tracks = [t for t in self._tracks if t.active or first - t.seen <= limit]

    def _walk(self, starts: list[tuple[_Track, np.ndarray, list[int]]], segment: list[tuple[int, Frame]]) -> None:
        """Runs the mesh along positions of the segment, several tracks at once, until they end or lose their face."""
        jobs = [(track, roi, places, False) for track, roi, places in starts if places]
        while jobs:
            work = [(track, roi, places[: track.reach], fresh) for track, roi, places, fresh in jobs]
            keys: dict[tuple[int, int], int] = {}
            images: list[np.ndarray] = []
            rois: list[np.ndarray] = []
            for track, roi, places, _ in work:
                for i in places:
                    key = (track.id, segment[i][1].index)
                    if key not in keys:  # a source frame that fills several ticks is looked at once
                        keys[key] = len(images)
                        images.append(segment[i][1].image)
                        rois.append(roi)
            points, presence = self.mesh.landmarks(images, np.stack(rois))
            own = roi_from_landmarks(points)
            following = []
            for (track, roi, head, fresh), (_, _, places, _) in zip(work, jobs, strict=True):
                done, next_roi, alive = 0, roi, True
                for i in head:
                    at = keys[track.id, segment[i][1].index]
                    seen = presence[at] >= self.options.min_presence
                    trusted = fresh and done == 0  # this region was made for this very frame
                    if not trusted and (not seen or _strayed(roi, own[at])):
                        # look again with a region made from this frame, or from the one before if there is no face
                        if seen:
                            next_roi = own[at]
                        elif done:
                            next_roi = roi_from_landmarks(track.observed[head[done - 1]].landmarks)
                        else:
                            alive = False
                        break
                    if not seen:
                        alive = False
                        break
                    track.observed[i] = Observation(points[at], float(presence[at]))
                    done += 1
                whole = done == len(head)
                track.reach = min(BLOCK, track.reach * 2) if whole else max(1, done)
                rest = places[done:]
                if alive and rest:
                    if whole:
                        next_roi = roi_from_landmarks(track.observed[head[-1]].landmarks)
                    following.append((track, next_roi, rest, not whole))
            jobs = following

    def _drop_doubles(self) -> None:
        """Two tracks that ended up on one face: the older stays."""
        kept: list[np.ndarray] = []
        for track in sorted(self._tracks, key=lambda t: t.id):
            if not track.active:
                continue
            box = landmark_box(track.observed[max(track.observed)].landmarks)
            if any(overlap(box, other)[0, 0] > 0.5 for other in kept):
                self._tracks.remove(track)
            else:
                kept.append(box)

    def _detect(self, segment: list[tuple[int, Frame]], at: int) -> None:
        """Looks for faces at one position: known ones are left alone, lost ones resumed, new ones followed."""
        tick, frame = segment[at]
        room = self.options.max_faces - sum(t.active for t in self._tracks)
        taken = [landmark_box(t.observed[at].landmarks) for t in self._tracks if at in t.observed]
        faces = [f for f in self.detector.detect([frame.image])[0] if not _near_any(f.box, taken)]
        faces = sorted(sorted(faces, key=lambda f: -_area(f.box))[:room], key=lambda f: f.box[0])
        started = []
        for face in faces:
            points, presence = self.mesh.landmarks([frame.image], roi_from_detection(face)[None])
            box = landmark_box(points[0])
            if presence[0] < self.options.min_presence or _near_any(box, taken) or not _near_any(box, [face.box]):
                continue
            taken.append(box)
            started.append((self._resume(box) or self._new_track(points[0], tick), roi_from_landmarks(points[0])))
        for order in (list(range(at, len(segment))), list(range(at - 1, -1, -1))):
            self._walk([(t, roi, [i for i in order if i not in t.observed]) for t, roi in started], segment)
            if order and order[0] == at:
                started = [(t, roi_from_landmarks(t.observed[at].landmarks)) for t, _ in started if at in t.observed]
        for track, _ in started:
            track.active = len(segment) - 1 in track.observed
        self._tracks = [t for t in self._tracks if t.active or t.observed or t.seen < segment[0][0]]

    def _resume(self, box: np.ndarray) -> _Track | None:
        """The lost track whose last place fits this face best."""
        best, best_distance = None, 0.8
        for track in self._tracks:
            if track.active:
                continue
            old = landmark_box(track.landmarks)
            size = np.sqrt(max(_area(old), 1e-6))
            distance = float(np.linalg.norm((box[:2] + box[2:] - old[:2] - old[2:]) / 2) / size)
            ratio = np.sqrt(_area(box)) / size
            if distance < best_distance and 0.5 < ratio < 2:
                best, best_distance = track, distance
        if best is not None:
            best.active, best.reach = True, BLOCK
        return best

    def _new_track(self, landmarks: np.ndarray, tick: int) -> _Track:
        track = _Track(self._next_id, landmarks, tick)
        self._next_id += 1
        self._tracks.append(track)
        return track


def track_ticks(
    ticks: Iterable[tuple[int, Frame]],
    options: TrackOptions | None = None,
    *,
    detector: FaceDetector | None = None,
    device: str = "cpu",
) -> Iterator[TrackChunk]:
    """Tracks the faces of a video read by media.video.iter_ticks; see FaceTracker.run."""
    return FaceTracker(options, detector, device=device).run(ticks)


def _segments(block: list[tuple[int, Frame, bool]]) -> Iterator[tuple[bool, list[tuple[int, Frame]]]]:
    """(a cut lies before it, ticks without a cut inside)."""
    start = 0
    for i in range(1, len(block) + 1):
        if i == len(block) or block[i][2]:
            yield block[start][2], [(tick, frame) for tick, frame, _ in block[start:i]]
            start = i


def _strayed(roi: np.ndarray, own: np.ndarray) -> bool:
    """Has the face left the region it was looked for in? Both [2, 3]; `own` is the region its landmarks ask for."""
    side, own_side = np.hypot(roi[0, 0], roi[1, 0]), np.hypot(own[0, 0], own[1, 0])
    centres = (roi - own)[:, :2].sum(1) / 2 + (roi - own)[:, 2]
    turn = np.arctan2(own[1, 0], own[0, 0]) - np.arctan2(roi[1, 0], roi[0, 0])
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    if own_side <= 0:
        return True
    shifted = np.hypot(*centres) > MAX_SHIFT * side
    return bool(shifted or abs(np.log(own_side / side)) > MAX_SCALE or abs(turn) > MAX_TURN)


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _near_any(box: np.ndarray, others: list[np.ndarray]) -> bool:
    """Does the box show the same face as one of the others: they overlap, or one holds the other's centre?"""
    if not others:
        return False
    stacked = np.stack(others)
    centre = (box[:2] + box[2:]) / 2
    inside = ((centre > stacked[:, :2]) & (centre < stacked[:, 2:])).all(1)
    return bool((overlap(box, stacked)[0] > SAME_FACE).any() or inside.any())


__all__ = ["Detection", "FaceTracker", "TrackChunk", "TrackOptions", "track_ticks"]
