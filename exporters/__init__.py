"""
Built-in exporters, one folder each; found through the entry point group ``meterline.exporters``.
"""
