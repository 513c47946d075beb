"""ONNX files, read without any library for them: bytes → document → a module that torch can export."""
