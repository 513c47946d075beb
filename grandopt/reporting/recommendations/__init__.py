"""What to try next with an agent, from what its report says and nothing else."""
