"""`cluster-tunnel stub`."""

import argparse
import os
from functools import partial

from stub.settings import StubSettings
from tunnel.cli.parser import examples
from tunnel.cli.runner import run_service
from tunnel.kit.settings import add_arguments, load, render


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.epilog = examples(
        "cluster-tunnel stub --ca-dir ./ca --listen 0.0.0.0:8443 --domain clusters.example.com",
        "cluster-tunnel stub --ca-dir ./ca --lease kubernetes:cluster-tunnel/cluster-tunnel-stub",
    )
    add_arguments(parser, StubSettings)


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = load(StubSettings, options, os.environ)
    if options.print_config:
        print(render(settings), end="")
        return 0
    if settings.workers > 1:
        from stub.workers.parent import serve_with_workers
        from tunnel.cli.workers import run_stub_worker

        return run_service(settings, partial(serve_with_workers, settings, run_stub_worker))
    from stub.server import serve  # what only prints its settings needs no event loop

    return run_service(settings, partial(serve, settings))
