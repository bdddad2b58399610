"""The same two stages in other software, each in the fastest right form that was found, and in ours.

Every module is a program: ``python -m benchmarks.peers.NAME STAGE ARCHIVE OUT`` with STAGE ``prices`` (ARCHIVE's CSV files
to ``OUT/prices``) or ``features`` (``OUT/prices`` to ``OUT/features``). All write the same rows and columns as Parquet,
sorted by symbol and date. Where ours checks, quarantines, digests and can resume, the peers just do the job.
"""
