"""
What tests of Meterline, and of plugins for it, are written with: contract kits, models, fault harnesses.
"""
