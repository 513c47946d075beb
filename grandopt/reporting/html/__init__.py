"""A report as one self-contained HTML file: `page` is the entry, `panels` chooses charts, `charts` draws."""
