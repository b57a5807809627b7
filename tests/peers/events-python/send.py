"""
Sends through an official SDK: ``python send.py PRODUCT URL KEY CUSTOMER COUNT FIRST``.

Prints ``{"sent": sum of what the SDK says is stored, "failed": number of events that it gave up}``.
"""

import json
import logging
import sys
import threading
from urllib.parse import urlsplit

PRODUCT, URL, KEY, CUSTOMER = sys.argv[1:5]
VALUES = range(int(sys.argv[6]), int(sys.argv[6]) + int(sys.argv[5]))


def amplitude() -> list[int]:
    """
    Send through ``amplitude-analytics``, and return what was stored.
    """
    from amplitude import Amplitude, BaseEvent, Config  # noqa: PLC0415 - one SDK a run

    logging.getLogger("amplitude").setLevel(logging.CRITICAL)
    stored, done = [], threading.Semaphore(0)

    def called(event: BaseEvent, code: int, _message: str | None) -> None:
        if code == 200:
            stored.append(event.event_properties["rows"])
        done.release()

    config = Config(
        server_url=f"{URL}/2/httpapi",
        flush_queue_size=7,
        flush_interval_millis=50,
        flush_max_retries=20,
        callback=called,
    )
    client = Amplitude(KEY, config)
    for rows in VALUES:
        properties = {"organization": CUSTOMER, "rows": rows}
        client.track(BaseEvent("Export Created", user_id="alice@example.com", event_properties=properties))
    for _ in VALUES:
        done.acquire(timeout=120)
    client.shutdown()
    return stored


def mixpanel() -> list[int]:
    """
    Send through ``mixpanel``, one by one, in batches and by import, and return what was stored.
    """
    from mixpanel import BufferedConsumer, Consumer, Mixpanel, MixpanelException  # noqa: PLC0415 - one SDK a run

    host = urlsplit(URL).netloc
    buffered = BufferedConsumer(max_size=5, api_host=host)
    clients = [Mixpanel(KEY, Consumer(api_host=host)), Mixpanel(KEY, buffered)]
    stored = []
    for number, rows in enumerate(VALUES):
        properties = {"organization": CUSTOMER, "rows": rows}
        while True:
            try:
                clients[number % 2].track("alice@example.com", "Export Created", properties)
            except MixpanelException:
                if number % 2 == 0:  # a buffered event stays in the buffer
                    break
            stored.append(rows)
            break
    while True:
        try:
            buffered.flush()
        except MixpanelException:
            continue
        return stored


if __name__ == "__main__":
    sums = {"amplitude": amplitude, "mixpanel": mixpanel}[PRODUCT]()
    print(json.dumps({"sent": sum(sums), "failed": len(VALUES) - len(sums)}))  # noqa: T201 - what the test reads
