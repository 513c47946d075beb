"""`--to onnx`: the program as one ONNX file with the names that its host expects, checked beforehand."""
