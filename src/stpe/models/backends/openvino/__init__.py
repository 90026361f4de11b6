"""CPU inference through OpenVINO: no torch, weights read as raw tensors or ONNX."""
