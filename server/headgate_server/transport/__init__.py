"""gRPC: decode, call one service, encode. Wire types go no further."""
