"""
What each agent does with usage unless it is told better. The facts: the agents' own sources and documentation, August 2026.
"""
