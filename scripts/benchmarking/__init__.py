"""The parts of `scripts/benchmark.py`.

Every candidate is measured in a worker process of its own (`worker`), so that candidates share neither memory nor
libraries. The workers take turns (`rounds`), and the figures become a table, JSON and a chart (`report`, `chart`).
"""
