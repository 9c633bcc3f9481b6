"""The process of a benchmark's users.

    python -m tests.bench.load PORT FOLDER [CLUSTERS]

A worker: commands come as lines of JSON. Users in Python take more of the machine than the stub does, so their requests per
second say little; what a request costs each side is read from the kernel's accounts of their processes.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.installation import user_context
from tests.bench.mixed import mixed
from tests.bench.uploads import Uploads
from tests.bench.users import Users
from tests.bench.worker import Command, obey, run

COMMANDS: Final = ("get", "ask", "down", "up", "burst", "hold", "release")
"""Methods of `Users`; their arguments come with the command."""


async def main(port: str, folder: str, clusters: str = "0") -> None:
    users = Users(int(port), user_context(Path(folder)), int(clusters))
    commands: dict[str, Command] = {name: getattr(users, name) for name in COMMANDS}
    uploads = Uploads(users)
    commands |= {"begin_uploads": uploads.begin_uploads, "finish_uploads": uploads.finish_uploads}
    await obey(commands | {"mixed": partial(mixed, users)})


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
