"""Budgets, endings and approvals while sessions run: pure decisions, and the topics they are read from and sent to."""
