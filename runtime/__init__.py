"""What runs inside Lambda, and the same engine on a command line. Never imports ``aws_cdk``."""
