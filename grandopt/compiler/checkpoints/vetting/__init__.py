"""Reading files of strangers: archives, pickles and operators, looked at before anything of them is used."""
