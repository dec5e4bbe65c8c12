"""Speed and memory, one command a table: `python -m benchmarks.NAME`; see docs/performance.md."""
