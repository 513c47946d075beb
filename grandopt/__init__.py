"""Make small trained agents as fast as the machine allows, and prove that they are still the same."""
