"""What can be wrong with certificates, keys and the files that hold them."""

from tunnel.kit.failures import CommandFailed


class CertificateProblem(CommandFailed):
    """A certificate, key or credential file cannot be used; the text names the file and the reason.

    Ends a command with exit code 1 where nothing handles it; whoever reloads files at run time catches it and keeps
    what it has.
    """


class FileMissing(CertificateProblem):
    """There is no such file."""


class NameDenied(CertificateProblem):
    """The deny list refuses whatever is issued to this user or cluster."""


class PeerRefused(Exception):
    """A certificate whose handshake succeeded does not stand for what its holder wants to be; the text says why."""
