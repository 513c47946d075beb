"""A report as one self-contained HTML file: `page` is the entry, `charts` draws, `view` finds the words."""
