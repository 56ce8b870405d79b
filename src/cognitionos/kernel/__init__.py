"""The words every context shares. Standard library only."""
