"""Which nodes there are, and the model folder that they read."""

import os

import folder_paths
from comfy_api.latest import ComfyExtension, io

from .attributes.classify_attributes import ClassifyAttributes
from .dubbing.apply_audiopack import ApplyAudioPack
from .dubbing.dub_conditioning import DubConditioning
from .dubbing.dub_sampler import DubSampler
from .dubbing.load_audiopack import LoadAudioPack
from .dubbing.load_dubbing_demo import LoadDubbingDemo
from .faces.mouth_mask import MouthMask
from .faces.paste_faces import PasteFaces
from .faces.track_faces import TrackFaces
from .reading.transcribe_lips import TranscribeLips
from .shared.model_files import FOLDER
from .sync.demo_video import DemoVideo
from .sync.find_speaker import FindSpeaker
from .sync.fix_sync import FixSync
from .sync.sync_gate import SyncGate
from .sync.sync_score import SyncScore
from .sync.sync_score_tokens import SyncScoreTokens
from .tokens.encode_audio import EncodeAudioTokens
from .tokens.encode_vocal import EncodeVocalMotionTokens
from .tokens.load_model import LoadModel
from .tokens.load_tokens import LoadTokens
from .tokens.save_tokens import SaveTokens


def register_folders() -> None:
    """Tell ComfyUI about models/synclip. The folder itself is the user's to make."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folder_paths.folder_names_and_paths[FOLDER][1].add(".safetensors")


class SyncLipExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            SyncScore,
            FixSync,
            FindSpeaker,
            SyncGate,
            TranscribeLips,
            LoadModel,
            TrackFaces,
            EncodeAudioTokens,
            EncodeVocalMotionTokens,
            SyncScoreTokens,
            ClassifyAttributes,
            SaveTokens,
            LoadTokens,
            MouthMask,
            PasteFaces,
            LoadAudioPack,
            ApplyAudioPack,
            DubConditioning,
            DubSampler,
            LoadDubbingDemo,
            DemoVideo,
        ]
