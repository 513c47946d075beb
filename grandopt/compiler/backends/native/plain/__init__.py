"""An agent as plain C99, for processors without vectors, and for compilers that know nothing but the standard."""
