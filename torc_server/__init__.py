"""A workflow-management server for thousands of shell jobs, with its state in PostgreSQL."""

__version__ = "0.1.0"
