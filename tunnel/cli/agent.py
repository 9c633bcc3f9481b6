"""`cluster-tunnel agent`."""

import argparse
import os
from functools import partial

from agent.settings import AgentSettings, with_defaults
from tunnel.cli.parser import examples
from tunnel.cli.runner import run_service
from tunnel.kit.settings import add_arguments, load, render


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.epilog = examples(
        "cluster-tunnel agent --stub stub.example.com:8443 --cert agent-blue.crt --key agent-blue.key --ca server-ca.crt"
    )
    add_arguments(parser, AgentSettings)


def run(options: argparse.Namespace) -> int:
    """Serve the cluster until told to stop."""
    settings = with_defaults(load(AgentSettings, options, os.environ), os.environ)
    if options.print_config:
        print(render(settings), end="")
        return 0
    import asyncio  # what only prints its settings needs no event loop

    hurry = asyncio.Event()
    if settings.workers > 1:
        from agent.workers import serve_with_workers
        from tunnel.cli.workers import run_agent_worker

        main = partial(serve_with_workers, settings, run_agent_worker, hurry=hurry)
        return run_service(settings, main, on_hangup=hurry.set)
    from agent.dialer import run as serve_cluster

    return run_service(settings, partial(serve_cluster, settings, hurry=hurry), on_hangup=hurry.set)
