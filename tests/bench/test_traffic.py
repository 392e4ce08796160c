"""What crossed a line is what the kernel says did."""

import os
import socket

from bekend_bench import traffic
from bekend_bench.traffic import Octets


def test_octets_of_both_directions_are_those_of_this_process_and_port() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(listening.getsockname()) as near,
        socket.create_connection(other.getsockname()) as elsewhere,
    ):
        port = listening.getsockname()[1]
        far, _ = listening.accept()
        with far:
            before = traffic.of_processes([os.getpid()], port)
            far.sendall(b"y" * 77)
            assert len(near.recv(77, socket.MSG_WAITALL)) == 77
            near.sendall(b"x" * 40_000)
            assert len(far.recv(40_000, socket.MSG_WAITALL)) == 40_000
            elsewhere.sendall(b"z" * 5)
            assert traffic.of_processes([os.getpid()], port) - before == Octets(40_000, 77)
            # Nobody's sockets, another port.
            assert traffic.of_processes([], port) == Octets()


def test_what_is_not_acknowledged_yet_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as near:
        far, _ = listening.accept()
        with far:
            # An acknowledgement waits for something to ride on.
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            for _ in range(20):
                near.sendall(b"x" * 50)
                assert len(far.recv(50, socket.MSG_WAITALL)) == 50
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            assert traffic.of_processes([os.getpid()], listening.getsockname()[1]) == Octets(1000, 0)
