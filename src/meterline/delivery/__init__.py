"""
Delivery: cursors, batches, retry schedule, receipts, dead letters (semantics.md 8).
"""

from meterline.delivery.engine import Delivery
from meterline.delivery.states import State, exporter_states

__all__ = ["Delivery", "State", "exporter_states"]
