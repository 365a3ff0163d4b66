"""Cachefleet operator: reconciles `Cache` resources (built next; the package keeps its place)."""
