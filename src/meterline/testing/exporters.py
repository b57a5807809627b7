"""
The exporter contract kit: what every exporter must keep, run against the real backend or a faithful stand-in.

A plugin author writes a ``Backend`` - how to make the exporter, how to break the backend, and a *probe* that reads back what
it holds - and gets a test class::

    from meterline.testing.exporters import Backend, Fault, exporter_suite

    class MyBackend(Backend):
        faults = frozenset({Fault.TRANSIENT, Fault.ANSWER_LOST, Fault.DISCONNECT, Fault.SLOW})
        cannot = {Fault.PERMANENT: "takes every record", Fault.MIXED: "answers for a whole batch only"}

        def __init__(self, folder: Path, rng: random.Random) -> None: ...           # start the backend
        def exporter(self, context: ExporterContext) -> Exporter[Any]: ...          # a new, unconnected exporter
        def held(self) -> list[Mapping[str, Any]]: ...                              # the probe: every record, repeats included
        def inject(self, fault: Fault, times: int) -> None: ...                     # the next ``times`` sends meet the fault
        def close(self) -> None: ...

    TestMyExporter = exporter_suite(MyBackend)

Scenarios: ok, transient, permanent, mixed in one batch, answer lost after commit, disconnect, slow, restart from the ledger,
kill between send and receipt, hostile names and sizes, close with work in flight.

Verdict after each: created = delivered + pending + held + dead + void; none lost; none invented; none twice after
idempotency; all values equal to the last digit.
"""
