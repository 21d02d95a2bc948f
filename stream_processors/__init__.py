"""The Faust stream processors: session state, budgets, transitions."""
