"""Which nodes there are, and the model folder that they read."""

import os

import folder_paths
from comfy_api.latest import ComfyExtension, io

from .apply_audiopack import ApplyAudioPack
from .classify_attributes import ClassifyAttributes
from .demo_video import DemoVideo
from .dub_conditioning import DubConditioning
from .dub_sampler import DubSampler
from .encode_audio import EncodeAudioTokens
from .encode_vocal import EncodeVocalMotionTokens
from .find_speaker import FindSpeaker
from .fix_sync import FixSync
from .load_audiopack import LoadAudioPack
from .load_dubbing_demo import LoadDubbingDemo
from .load_model import LoadModel
from .load_tokens import LoadTokens
from .model_files import FOLDER
from .mouth_mask import MouthMask
from .paste_faces import PasteFaces
from .save_tokens import SaveTokens
from .sync_gate import SyncGate
from .sync_score import SyncScore
from .sync_score_tokens import SyncScoreTokens
from .track_faces import TrackFaces
from .transcribe_lips import TranscribeLips


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
