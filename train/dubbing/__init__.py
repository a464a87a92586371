"""Fine-tuning of Wan VACE with an AudioPack (SyncLipMAE, sections 4.4 and 5)."""
