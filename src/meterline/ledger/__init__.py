"""
The ledger: the durable, ordered store of frames, with state, totals, quarantine and delivery's books (docs/ledger.md).
"""

from meterline.ledger.ledger import Ledger, OpenTransaction
from meterline.ledger.reader import LedgerReader, QuarantineRow, RulesRow, UsageTotal, open_reader

__all__ = ["Ledger", "LedgerReader", "OpenTransaction", "QuarantineRow", "RulesRow", "UsageTotal", "open_reader"]
