"""
Every error Meterline raises on purpose, named by what the engine does next.

::

    MeterlineError
    |-- ConfigurationError    refuse to start; exit code 78
    |-- NotConnectedError     connect again, then send the same batch
    |-- RetryableError        try again, not before ``retry_after_secs``
    |   |-- OverloadedError   answer "not stored, send again": a budget is used up
    |   `-- LedgerFullError   answer "not stored, send again": no room on disk or over the size limit
    |-- PausedError           stop this exporter until a person acts; nothing is lost
    |-- UndecodableError      refuse the whole request for good
    |-- TooLargeError         refuse the whole request for good: it can never pass
    |-- UnauthenticatedError  refuse the whole request for good: there is no credential, or it is proven wrong or expired
    |-- ForbiddenError        refuse the whole request for good: the credential is good, what it asks for is not its right
    |-- LedgerLockedError     another process owns the ledger; exit code 1
    |-- CorruptLedgerError    do not accept intake: counting on would bill twice
    `-- FatalError            stop the process at once: what is on disk is unknown (a failed fsync)
"""


class MeterlineError(Exception):
    """
    Base of all errors raised on purpose.
    """


class ConfigurationError(MeterlineError):
    """
    The configuration cannot be used; the message says where, with which value, and the remedy.
    """


class NotConnectedError(MeterlineError):
    """
    The far side cannot be reached now; nothing was sent.
    """


class RetryableError(MeterlineError):
    """
    Nothing was stored or sent; the same call may pass later.
    """

    def __init__(self, message: str, retry_after_secs: float | None = None) -> None:
        """
        Keep the far side's or our own hint, in seconds, or None.
        """
        super().__init__(message)
        self.retry_after_secs = retry_after_secs


class OverloadedError(RetryableError):
    """
    A budget (bytes in flight, a principal's quarantine) is used up.
    """


class LedgerFullError(RetryableError):
    """
    The disk is full or the ledger is over its size limit; nothing was applied.
    """


class PausedError(MeterlineError):
    """
    This exporter must not go on before a person has acted; the message says how.
    """


class UndecodableError(MeterlineError):
    """
    The body's wire structure is broken; nothing of it was applied or learned.
    """


class UnauthenticatedError(MeterlineError):
    """
    Nobody knows who sends: no credential, or one that is proven wrong or expired. A verifier that cannot work is retryable.
    """


class ForbiddenError(MeterlineError):
    """
    The sender is known, and may not do this.
    """


class TooLargeError(MeterlineError):
    """
    The body is over the size limit, before or after decompression.
    """


class LedgerLockedError(MeterlineError):
    """
    Another process holds the ledger's lock; the message names it.
    """


class CorruptLedgerError(MeterlineError):
    """
    A frame newer than a snapshot chunk fails its CRC; the message names the frame and the way out.
    """


class FatalError(MeterlineError):
    """
    A failed fsync: what is on disk is unknown, so the process must stop and never retry it.
    """
