"""An agent as plain C99, for processors without vectors and compilers that know the standard alone."""
