"""Access to AWS: clients under one retry policy, storage, executions, metrics, audit, clock."""
