"""The benchmark: load generators, baselines, audits and the report. Started by `python3 -m app bench`."""
