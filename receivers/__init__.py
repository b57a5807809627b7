"""
Built-in receivers, one folder each; found through the entry point group ``meterline.receivers``.
"""
