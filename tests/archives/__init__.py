"""Files as exporters write them, from the shared script that makes them."""
