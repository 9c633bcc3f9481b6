"""`cluster-tunnel up`: everything on one machine in the foreground."""

import argparse
import os
from functools import partial

from tunnel.cli.local.folder import own_folder
from tunnel.cli.local.installation import run_installation
from tunnel.cli.local.ports import free_address
from tunnel.cli.local.settings import UpSettings
from tunnel.cli.local.simulator import check_simulator
from tunnel.cli.parser import examples
from tunnel.cli.runner import run_until_stopped
from tunnel.kit.settings import add_arguments, load, render


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.epilog = examples(
        "cluster-tunnel up --simulator",
        "cluster-tunnel up --kubeconfig ~/.kube/config --context staging",
        "cluster-tunnel up --kubeconfig admin.conf --mode impersonate --user ann -g dev",
    )
    add_arguments(parser, UpSettings)


def run(options: argparse.Namespace) -> int:
    """Start everything, say when it is ready, and end everything when told to."""
    settings = load(UpSettings, options, os.environ)
    if options.print_config:
        print(render(settings), end="")
        return 0
    if settings.simulator:
        check_simulator()
    with own_folder(settings.dir.absolute()):
        listen = free_address(settings.listen)
        # uvloop cannot put children into a process group of ours.
        return run_until_stopped(partial(run_installation, settings, listen), "asyncio")
