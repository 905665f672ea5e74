"""Operations on a stage: attempts, replay, reconciliation, completeness of studies."""
