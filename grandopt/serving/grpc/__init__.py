"""The Open Inference Protocol over gRPC: bytes in, the data plane, bytes out."""
