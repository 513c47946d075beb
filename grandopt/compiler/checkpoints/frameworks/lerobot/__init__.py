"""Policies of LeRobot: folders with a configuration, weights and the statistics of their processors."""
