"""Reading the reports and histories of many machines, from folders and over HTTP."""
