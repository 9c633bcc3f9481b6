"""Run the simulator: `python -m tests.kubesim --dir DIR [--listen HOST:PORT] [--no-samples]`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from tests.kubesim.simulator import KubeSim


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kubesim", description="A simulated Kubernetes API."
    )
    parser.add_argument(
        "--dir", type=Path, required=True, help="state: certificates, tokens, kubeconfig, audit.log"
    )
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument("--no-samples", action="store_true", help="start without the sample pods")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> None:
    host, port = arguments.listen
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with KubeSim.start(arguments.dir, host=host, port=port, samples=not arguments.no_samples) as sim:
        print(f"kubesim: ready {sim.admin_kubeconfig}", flush=True)
        await ended.wait()


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    try:
        asyncio.run(_run(_arguments()))
    except OSError as error:
        print(f"kubesim: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
