"""GPU (or slow CPU) inference through transformers and torch, from folders of safetensors."""
