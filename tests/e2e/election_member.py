"""One elector as a process of its own: says what happens to it, and at each byte it reads, whether it holds the lease.

python -m tests.e2e.election_member KUBECONFIG NAMESPACE NAME IDENTITY
"""

import asyncio
import os
import sys
from pathlib import Path

from stub.election.api import KubernetesApi
from stub.election.candidate import Term
from stub.election.events import ElectionEvent
from stub.election.loop import Elector, Surroundings
from stub.election.stores.kubernetes import KubernetesLeaseStore


async def _lead(term: Term) -> None:
    await asyncio.Event().wait()


def _say(event: ElectionEvent) -> None:
    print(type(event).__name__, flush=True)


async def _main(kubeconfig: str, namespace: str, name: str, identity: str) -> None:
    api = KubernetesApi(Path(kubeconfig))
    store = KubernetesLeaseStore(api, namespace, name)
    elector = Elector(store, identity, _lead, surroundings=Surroundings(on_event=_say))

    def asked() -> None:
        # Whatever else became ready while the process was stopped, a question must find the truth.
        if os.read(0, 1):
            print(f"holds={elector.holds()}", flush=True)
        else:
            elector.stop()

    await api.open()
    asyncio.get_running_loop().add_reader(0, asked)
    await elector.run()
    asyncio.get_running_loop().remove_reader(0)
    await store.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
