"""
Sends through fluent-logger: ``python send.py PORT CUSTOMER EVENTS sync|async``.

Prints ``{"sent": sum of what emit said was sent}``: bytes that the kernel took, since this client knows no acknowledgements.
"""

import json
import sys
import time

from fluent import asyncsender, sender

PORT, CUSTOMER, EVENTS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
OPTIONS = {"host": "127.0.0.1", "port": PORT, "nanosecond_precision": True, "forward_packet_error": False}


def main() -> None:
    """
    Send all events, and say what was sent.
    """
    if sys.argv[4] == "async":
        logger = asyncsender.FluentSender("python", queue_maxsize=0, **OPTIONS)
    else:
        logger = sender.FluentSender("python", **OPTIONS)
    sent = 0
    for number in range(1, EVENTS + 1):
        event = {"customer": CUSTOMER, "calls": number, "event_id": f"{CUSTOMER}-{number}"}
        sent += number * logger.emit_with_time("calls", sender.EventTime(time.time()), event)
    logger.close()
    sys.stdout.write(json.dumps({"sent": sent}) + "\n")


if __name__ == "__main__":
    main()
