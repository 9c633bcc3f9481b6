"""A server that sends zeros to who connects, ends its side, and reads on until the other side ends too.

Run as `python half_closing.py PORT BYTES`.
"""

import socket
import sys


def serve(port: int, size_bytes: int) -> None:
    """Serve one connection after the other until the process is ended."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(bytes(size_bytes))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
