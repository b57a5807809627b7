"""
The Python kernel: the reference, and what runs where no native one is built.
"""

from meterline.api.receiver import Format
from meterline.kernel.decoding import decode
from meterline.kernel.expand import Expander
from meterline.kernel.framing import FrameContent, decode_frame, encode_frame
from meterline.kernel.meter import PythonMeter
from meterline.kernel.plan import PythonPlan
from meterline.kernel.seam import Batch, Meter, MeterOptions, Names, Plan, RecordBatch, StoredFrame


class PythonKernel:
    """
    See ``meterline.kernel.seam.Kernel`` for the contract of each method.
    """

    def __init__(self) -> None:
        """
        Make a kernel; its caches change nothing but the cost.
        """
        self._expander = Expander()

    @property
    def implementation(self) -> str:
        """
        Return ``python``.
        """
        return "python"

    def plan(self, gen: int, rules_hash: str) -> Plan:
        """
        Make the empty memo of one rule-set generation.
        """
        return PythonPlan(gen, rules_hash)

    def decode(self, body: bytes, fmt: Format, plan: Plan) -> Batch:
        """
        Walk a body into columns and spans.
        """
        if not isinstance(plan, PythonPlan):
            raise TypeError(f"decoding body: {type(plan).__name__} is the plan of another kernel")
        return decode(body, fmt, plan)

    def meter(self, options: MeterOptions) -> Meter:
        """
        Make an empty meter.
        """
        return PythonMeter(options)

    def records(self, body: bytes, names: Names) -> RecordBatch:
        """
        Expand a frame into its records.
        """
        return self._expander.records(body, names)

    def strip(self, frame: StoredFrame) -> bytes:
        """
        Reduce a frame to its quarantined points.
        """
        content = decode_frame(frame.body)
        kept = FrameContent(
            seq=content.seq,
            gen=content.gen,
            rules_hash=content.rules_hash,
            received_at=content.received_at,
            sources=content.sources,
            charges=content.charges,
            quarantine=content.quarantine,
        )
        return encode_frame(kept)
