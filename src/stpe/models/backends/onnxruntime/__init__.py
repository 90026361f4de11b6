"""Models run by ONNX Runtime: networks whose weights are 8-bit."""
