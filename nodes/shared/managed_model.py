"""A SyncLipMAE model under ComfyUI's model management: it is loaded when used and makes room when others need it."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch

from ...synclip_core.checkpoint import load_checkpoint
from ...synclip_core.pipeline import SyncPipeline

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class ManagedModel:
    """path: a checkpoint, None for the bundled one. dtype: of the stored weights; the arithmetic is float32."""

    def __init__(self, path: Path | None = None, dtype: str = "float32", device: str = "default") -> None:
        self.checkpoint = load_checkpoint(path, ops=comfy.ops.manual_cast)
        if dtype != "float32":
            for module in self.checkpoint.model.modules():
                if getattr(module, "comfy_cast_weights", False):
                    module.to(DTYPES[dtype])
        self.device = torch.device("cpu") if device == "cpu" else comfy.model_management.get_torch_device()
        offload = torch.device("cpu") if device == "cpu" else comfy.model_management.unet_offload_device()
        patcher: Any = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
        self.patcher = patcher(self.checkpoint.model, load_device=self.device, offload_device=offload)

    def pipeline(self, **options: Any) -> SyncPipeline:
        """The pipeline, its weights on the device. For use within one node's run: later they may be moved away."""
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        return SyncPipeline(self.checkpoint, device=str(self.device), **options)


@lru_cache(maxsize=1)
def bundled() -> ManagedModel:
    """What nodes use where no model is connected."""
    return ManagedModel()
