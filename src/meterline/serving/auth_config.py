"""
Configuration of credentials: who may send, and for whom.
"""

from typing import Self

from pydantic import Field, model_validator

from meterline.api import PluginConfig, Secret


class KeyConfig(PluginConfig):
    """
    One credential. Keys that share a name are one principal, so that a key can be replaced without a gap.
    """

    name: str = Field(min_length=1, description="The principal; it stands in every record.")
    token: Secret = Field(min_length=1, description="Sent as `authorization: Bearer <token>` or `x-api-key: <token>`.")
    customers: tuple[str, ...] | None = Field(
        default=None, description="Globs of the customers it may write for; absent: any customer."
    )

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        token = self.token.get_secret_value()
        if token != token.strip() or not (token.isascii() and token.isprintable()):
            raise ValueError(
                f"reading token of {self.name!r}: no header can carry it; use printable ASCII without spaces at its ends"
            )
        return self


class AuthConfig(PluginConfig):
    """
    Who may send.
    """

    keys: tuple[KeyConfig, ...] = Field(min_length=1, description="The credentials that are accepted.")

    @model_validator(mode="after")
    def _one_principal_one_right(self) -> Self:
        rights: dict[str, tuple[str, ...] | None] = {}
        for key in self.keys:
            if rights.setdefault(key.name, key.customers) != key.customers:
                raise ValueError(f"reading keys of {key.name!r}: keys that share a name must have the same customers")
        tokens = [key.token.get_secret_value() for key in self.keys]
        if len(set(tokens)) != len(tokens):
            raise ValueError("reading keys: two of them have the same token; give each its own")
        return self
