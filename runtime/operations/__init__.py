"""What keeps a stage in order: quarantine, redrive, reconciliation, replay, study completeness, dead letters.

Shared by the scheduled functions and by the commands of `imaging-pipeline`.
"""
