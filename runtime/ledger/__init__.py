"""The ledger in DynamoDB: rows of objects, claims on instances, studies, cursors of checks."""
