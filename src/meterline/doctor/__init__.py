"""
Looking at what stands before Meterline: agents' own configs, and each way in which they can lose or duplicate usage.
"""
