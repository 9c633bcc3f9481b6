"""An OpenID Connect issuer as a process of its own: discovery and keys over TLS.

    python -m tests.integration.signing.issuer FOLDER

FOLDER holds server.crt, server.key and keys.json, which is read for each request. The port is printed once it is served.
"""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.unit.certs.id_tokens import IssuerKey

CONFIGURATION = "/.well-known/openid-configuration"


class Issuer:
    """The process, from the outside.

    Args:
        folder: its own.
        port: where it serves.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self.url = f"https://localhost:{port}"

    def publish(self, *keys: IssuerKey) -> None:
        """Let these be its keys from now on."""
        new = self._folder / "keys.new"
        new.write_text(json.dumps({"keys": [key.public for key in keys]}))
        new.replace(self._folder / "keys.json")

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for, in order."""
        log = self._folder / "log"
        return log.read_text().split() if log.exists() else []


@contextmanager
def issuing(folder: Path) -> Iterator[Issuer]:
    """Run the process while the block runs; the folder holds its certificate and key."""
    command = [sys.executable, "-m", "tests.integration.signing.issuer", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Issuer(folder, int(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(10)


def serve(folder: Path) -> None:
    """Serve until the process is ended."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with (folder / "log").open("a") as log:
                log.write(f"{self.path}\n")
            assert isinstance(self.server, ThreadingHTTPServer)
            url = f"https://localhost:{self.server.server_port}"
            documents = {
                CONFIGURATION: json.dumps({"issuer": url, "jwks_uri": f"{url}/keys"}),
                "/keys": (folder / "keys.json").read_text(),
            }
            document = documents.get(self.path, "").encode()
            self.send_response(200 if document else 404)
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            """Standard error is the test's."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
