"""Cachefleet operator: reconciles `Cache` resources into running caches. ARCHITECTURE.md has its layers."""
