"""
Who sends, and for whom: keys, tokens of an OpenID Connect provider, client certificates.
"""

from meterline.serving.auth.authenticator import Authenticator
from meterline.serving.auth.identity import PeerIdentity

__all__ = ["Authenticator", "PeerIdentity"]
