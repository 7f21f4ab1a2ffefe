"""What the studies in `eval/` are made of: stages that resume, budgets, settings chosen fairly."""
