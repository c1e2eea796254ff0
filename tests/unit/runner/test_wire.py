from __future__ import annotations

import os
import socket

from headgate_runner.executors import wire


def test_frames_survive_being_cut_anywhere():
    data = wire.encode({"a": 1}) + wire.encode({"b": "x" * 300})
    for size in (1, 3, 9, 100):
        decoder = wire.Decoder()
        found = []
        for start in range(0, len(data), size):
            found += decoder.feed(data[start : start + size])
        assert [message for message, _ in found] == [{"a": 1}, {"b": "x" * 300}]


def test_descriptors_arrive_with_their_frame_and_are_not_inherited():
    ours, theirs = socket.socketpair()
    pipes = [os.pipe() for _ in range(3)]
    with ours, theirs:
        for index, pipe in enumerate(pipes):
            data = wire.encode({"index": index}, descriptors=2)
            assert wire.send_some(ours, data, list(pipe)) == len(data)
        decoder = wire.Decoder()
        found = []
        while len(found) < 3:
            found += decoder.feed(*wire.receive(theirs))
        for (message, (read_end, write_end)), pipe in zip(found, pipes, strict=True):
            assert not os.get_inheritable(read_end)
            os.write(write_end, str(message["index"]).encode())
            assert os.read(pipe[0], 10) == str(message["index"]).encode()
            for descriptor in (read_end, write_end, *pipe):
                os.close(descriptor)


def test_the_end_of_the_stream_is_empty():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert wire.receive(theirs) == (b"", [])
