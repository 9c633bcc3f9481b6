"""A folder with a `tunnel` and a `tests.kubesim` that stand in for the real ones as child processes.

The stub serves TLS with the certificates it is given and answers `/version` as its `answer` file says; everything writes
its arguments to its log.
"""

import textwrap
from pathlib import Path

_TUNNEL = """
    import signal, ssl, sys
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from pathlib import Path

    arguments = sys.argv[1:]
    given = dict(zip(arguments[1::2], arguments[2::2]))
    print(" ".join(arguments), flush=True)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = Path("answer").read_text().split(" ", 1)
            self.send_response(int(status))
            self.end_headers()
            self.wfile.write(body.encode())

    if arguments[0] == "agent":
        if Path("agents-fail").exists():
            sys.exit("cluster-tunnel: --cert: expired")
        signal.pause()
    host, _, port = given["--listen"].rpartition(":")
    folder = Path(given["--ca-dir"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "user-ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer((host, int(port)), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
"""

_SIMULATOR = """
    import signal, sys
    from pathlib import Path

    folder = Path(sys.argv[sys.argv.index("--dir") + 1])
    folder.mkdir(exist_ok=True)
    (folder / "kubeconfig").write_text("simulated")
    print("kubesim: loading", flush=True)
    print(f"kubesim: ready {folder}/kubeconfig", flush=True)
    signal.pause()
"""


def write_fake_installation(root: Path) -> None:
    """Write it into `root`; its stub answers 200."""
    for package, program in {"tunnel": _TUNNEL, "tests/kubesim": _SIMULATOR}.items():
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").touch()
        (root / package / "__main__.py").write_text(textwrap.dedent(program))
    (root / "tests" / "__init__.py").touch()
    set_answer(root, 200, '{"major": "1"}')


def set_answer(root: Path, status: int, body: str) -> None:
    """What the stub shall say from now on."""
    (root / "answer").write_text(f"{status} {body}")
