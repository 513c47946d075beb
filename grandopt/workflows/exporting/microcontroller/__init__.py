"""`export --to mcu`: an agent as a C header for microcontrollers, with what three build systems ask for."""
