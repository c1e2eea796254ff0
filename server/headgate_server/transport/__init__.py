"""gRPC: decode, call one service, encode. Wire types go no further."""

from headgate.core import grpc_environment

# The modules of this package load gRPC.
grpc_environment.prepare()
