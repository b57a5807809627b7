"""
Wire formats of senders, pure: bytes or parsed documents in, ``api.Body`` out. No sockets, no files, no clock.

Receivers use these; a format that two receivers know (a file and an HTTP request of the same lines) stands here once.
"""
