"""The parts of `scripts/benchmark.py`.

Every candidate is measured by a worker process of its own (`worker`), so that its memory and its libraries are its
own. The workers take turns (`rounds`), and what they measured becomes a table, JSON and a chart (`report`, `chart`).
"""
