"""How a command's end is told to the client: Status JSON from v4 on, plain words of failure before.

Messages are worded as kubelet (v1.34) and containerd word them; with v5 the apiserver stands between, and repeats them
in its own words.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an exec or attach ended.

    Attributes:
        command: the argument vector, for the message.
        exit_code: of the command; 0 for an attachment that ended.
        failure: why there is no exit code, in the runtime's words.
    """

    command: tuple[str, ...] = ()
    exit_code: int = 0
    failure: str | None = None


def not_started(command: list[str], why: str) -> Outcome:
    """Return the outcome of a command that could not be executed, in the words of the runtime."""
    exec_id = hashlib.sha256(repr(command).encode()).hexdigest()
    cause = f"unable to start container process: {why}" if command else "args must not be empty"
    failure = (
        "error executing command in container: failed to exec in container: "
        f'failed to start exec "{exec_id}": OCI runtime exec failed: exec failed: {cause}: unknown'
    )
    return Outcome(tuple(command), failure=failure)


def plain_text(outcome: Outcome) -> str:
    """Return what v1 to v3 write to the error stream: nothing on success."""
    if outcome.failure is not None:
        return f"Internal error occurred: {outcome.failure}"
    return _exit_message(outcome) if outcome.exit_code else ""


def status_v4(outcome: Outcome) -> str:
    """Return kubelet's Status."""
    if outcome.failure is not None:
        return _internal_error(outcome.failure)
    return _exit_status(outcome, _exit_message(outcome))


def status_v5(outcome: Outcome) -> str:
    """Return the apiserver's Status, made from kubelet's."""
    if outcome.failure is not None:
        return _internal_error(f"Internal error occurred: {outcome.failure}")
    code = outcome.exit_code
    message = f"command terminated with non-zero exit code: command terminated with exit code {code}"
    return _exit_status(outcome, message)


def _exit_message(outcome: Outcome) -> str:
    command = " ".join(outcome.command)
    return (
        "command terminated with non-zero exit code: "
        f"error executing command [{command}], exit code {outcome.exit_code}"
    )


def _exit_status(outcome: Outcome, message: str) -> str:
    if not outcome.exit_code:
        return _compact({"metadata": {}, "status": "Success"})
    cause = {"reason": "ExitCode", "message": str(outcome.exit_code)}
    return _compact(
        {
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": "NonZeroExitCode",
            "details": {"causes": [cause]},
        }
    )


def _internal_error(text: str) -> str:
    return _compact(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"Internal error occurred: {text}",
            "reason": "InternalError",
            "details": {"causes": [{"message": text}]},
            "code": 500,
        }
    )


def _compact(status: dict[str, Any]) -> str:
    return json.dumps(status, separators=(",", ":"), ensure_ascii=False)
