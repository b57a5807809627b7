"""
What every listening receiver shares: ports, TLS, credentials, limits, decompression, and one way from a request to its answer.
"""
