"""The error that both servers share."""

from cognitionos.kernel.errors import Unavailable


class ServerDidNotStart(Unavailable):
    """An embedded server ended or stayed silent; the detail carries the end of its log."""
