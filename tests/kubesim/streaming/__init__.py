"""The streaming half of the simulated API: exec, attach and port-forward over SPDY/3.1 and WebSocket."""

from tests.kubesim.streaming.faults import NO_FAULTS, StreamingFaults
from tests.kubesim.streaming.request import UpgradeRequest
from tests.kubesim.streaming.upgrade import serve_upgrade

__all__ = ["NO_FAULTS", "StreamingFaults", "UpgradeRequest", "serve_upgrade"]
