"""What the Open Inference Protocol asks of a server, without a transport."""
