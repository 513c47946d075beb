"""What each operator of ONNX is in torch; importing `table` fills the registry."""
