"""All mutations."""

from typing import Final

from tests.mutations.agents import AGENTS
from tests.mutations.headers import HEADERS
from tests.mutations.http2 import HTTP2
from tests.mutations.requests import REQUESTS
from tests.mutations.tls import TLS
from tests.mutations.upgrades import UPGRADES

MUTATIONS: Final = (*UPGRADES, *HEADERS, *REQUESTS, *TLS, *HTTP2, *AGENTS)
