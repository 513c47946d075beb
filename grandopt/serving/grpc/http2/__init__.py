"""HTTP/2 as gRPC needs it of a server: frames, header compression, flow control and limits."""
