"""All that fights the compiler: options, barriers, version quirks, caches, devices, lanes."""
