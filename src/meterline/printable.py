"""
Foreign text on a terminal: what cannot be printed is shown escaped, so that no customer id moves a cursor.
"""


def printable(text: str) -> str:
    r"""
    Return the text with control, format, private and surrogate characters as ``\x1b`` or ``\u202e``; else unchanged.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"
