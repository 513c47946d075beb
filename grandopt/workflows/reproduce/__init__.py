"""`reproduce`: an artifact is built again as its recipe says, and compared with what was recorded."""
