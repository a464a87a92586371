"""Fine-tuning of Wan VACE with an AudioPack (papers/synclipmae.txt, sections 4.4 and 5)."""
