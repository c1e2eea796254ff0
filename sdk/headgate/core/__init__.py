"""The pure core: records and decisions, free of I/O, clocks and wire types.

Everything here may be imported by the SDK, the server and the runner alike. Time,
randomness and ids are arguments; nothing here imports grpc, protobuf, sqlalchemy,
pydantic, anyio or asyncio.
"""
