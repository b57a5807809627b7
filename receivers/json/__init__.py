"""
Events over HTTP: any JSON, and what Vector, Logstash, Fluent Bit, CloudEvents, Amplitude's and Mixpanel's SDKs send.
"""

from meterline.receivers.json.plugin import JsonReceiver

__all__ = ["JsonReceiver"]
