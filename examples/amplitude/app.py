"""
An application that is instrumented with Amplitude's SDK (`pip install amplitude-analytics`); only ``server_url`` is new.
"""

import os
import threading

from amplitude import Amplitude, BaseEvent, Config

exports = [("acme", 120), ("acme", 30), ("globex", 7)]

delivered = threading.Semaphore(0)
config = Config(
    server_url=os.environ.get("METERLINE_URL", "http://127.0.0.1:4318") + "/2/httpapi",
    # The default gives up after about nine seconds; 30 tries take an hour.
    flush_max_retries=30,
    flush_interval_millis=1000,
    callback=lambda event, code, message: delivered.release() if code == 200 else print(code, message),
)
client = Amplitude(os.environ.get("AMPLITUDE_API_KEY", "0123456789abcdef"), config)
for organization, rows in exports:
    properties = {"organization": organization, "rows": rows}
    client.track(BaseEvent("Export Created", user_id="alice@example.com", event_properties=properties))
client.flush()

# The SDK keeps events in memory: wait until they are stored before the process ends.
for _ in exports:
    delivered.acquire()
client.shutdown()
