"""What needs TRL: its parser and trainers, set up and finished the way the recipes want it."""
