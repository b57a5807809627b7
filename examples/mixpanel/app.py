"""
An application that is instrumented with Mixpanel's SDK (`pip install mixpanel`); only the consumer is new.
"""

import os

from mixpanel import Consumer, Mixpanel

exports = [("acme", 120), ("acme", 30), ("globex", 7)]

# With TLS it is the host name alone: Consumer(api_host="meterline.example"), and the SDK tries a few times by itself.
url = os.environ.get("METERLINE_URL", "http://127.0.0.1:4318")
client = Mixpanel(os.environ.get("MIXPANEL_TOKEN", "0123456789abcdef"), Consumer(events_url=url + "/track"))
for organization, rows in exports:
    client.track("alice@example.com", "Export Created", {"organization": organization, "rows": rows})
