"""All measurements of this folder, one after the other: `make bench`."""

import subprocess
import sys

MODULES = ("request_path", "tls_streams", "whole_path")

for name in MODULES:
    print(f"\n== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=True)
