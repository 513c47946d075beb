"""Everything that serves a built agent. Nothing here needs the compiler."""
