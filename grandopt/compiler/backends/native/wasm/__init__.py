"""The native engine's C as WebAssembly modules, and what a page or Node needs beside them."""
