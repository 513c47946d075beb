"""Many machines, on engines that exist: adapters to them, and the reports and plans of a fleet."""
